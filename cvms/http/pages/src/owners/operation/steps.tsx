// What the dialog of an operation shows at each of its steps.

import type { ComponentChildren } from "preact";
import type { Dispatch, StateUpdater } from "preact/hooks";

import type { Problem } from "../../api/client";
import { type Field, Input } from "../../parts/fields";
import { Facts, Trouble } from "../../parts/shown";
import type { Review } from "../signing/review";

interface AskingProps {
  about: ComponentChildren;
  fields: Field[];
  values: Record<string, string>;
  change: Dispatch<StateUpdater<Record<string, string>>>;
  problem: Problem | undefined;
  send: () => void;
  close: () => void;
}

/** The form of the operation. */
export function Asking({ about, fields, values, change, problem, send, close }: AskingProps) {
  const submitted = (event: Event) => {
    event.preventDefault();
    send();
  };
  return (
    <form onSubmit={submitted}>
      {about}
      {fields.map((field) => (
        <Input key={field.name} field={field} value={values[field.name] ?? ""}
          change={(value) => change((before) => ({ ...before, [field.name]: value }))} />
      ))}
      {problem && <Trouble problem={problem} />}
      <p class="buttons">
        <button type="button" onClick={close}>Cancel</button>
        <button type="submit" class="primary">{problem ? "Try again" : "Continue"}</button>
      </p>
    </form>
  );
}

/** What happens now, and the text that the wallet is asked to sign, if it is. */
export function Working({ note, text }: { note: string; text: string | undefined }) {
  return (
    <div role="status">
      <p>{note}</p>
      {text !== undefined && <pre class="text"><code>{text}</code></pre>}
    </div>
  );
}

interface ReviewingProps {
  found: Review;
  problem: Problem | undefined;
  sign: () => void;
  close: () => void;
}

/** What the transaction does, before the wallet gets it. */
export function Reviewing({ found: { rows, faults }, problem, sign, close }: ReviewingProps) {
  return (
    <>
      <p>This is what you sign. The transaction was read in your browser, not described by the service.</p>
      <Facts rows={rows} />
      {faults.length > 0 && <Refusal faults={faults} />}
      {problem && <Trouble problem={problem} />}
      <p class="buttons">
        <button type="button" onClick={close}>Cancel</button>
        {faults.length === 0 && <button type="button" class="primary" onClick={sign}>{problem ? "Try again" : "Sign and send"}</button>}
      </p>
    </>
  );
}

function Refusal({ faults }: { faults: string[] }) {
  return (
    <div class="trouble" role="alert">
      <p><strong>Do not sign this.</strong></p>
      <ul>{faults.map((each) => <li key={each}>{each}</li>)}</ul>
      <p>It is not what you have asked for, so the page does not give it to your wallet. Report it to whoever runs the service.</p>
    </div>
  );
}

/** A signed transaction whose answer was lost. */
export function Unanswered({ problem, again, close }: { problem: Problem; again: () => void; close: () => void }) {
  return (
    <>
      <Trouble problem={problem} />
      <p>It is signed, and may have arrived. Sent again, it takes effect once.</p>
      <p class="buttons">
        <button type="button" onClick={close}>Close</button>
        <button type="button" class="primary" onClick={again}>Send again</button>
      </p>
    </>
  );
}

/** What came of it. */
export function Ended({ children, close }: { children: ComponentChildren; close: () => void }) {
  return (
    <>
      {children}
      <p class="buttons"><button type="button" onClick={close}>Close</button></p>
    </>
  );
}
