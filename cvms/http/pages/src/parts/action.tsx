import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { newKey, type Problem, problemFrom } from "../api/client";
import { useConsole } from "../api/hooks";
import { includes, type Role } from "../api/session";
import type { Governed } from "../api/types";
import { type Field, Input } from "./fields";
import { Trouble } from "./shown";

export interface ActionProps {
  label: string;
  /** What it is done to, for those who hear the button without its row. */
  subject?: string;
  role: Role;
  /** Why nobody may do it now, if so. */
  blocked?: string | undefined;
  question: string;
  consequences: ComponentChildren;
  fields?: Field[];
  dangerous?: boolean;
  /** Do it. A repeated try has the same key. Return what came of it. */
  perform: (values: Record<string, string>, key: string) => Promise<ComponentChildren>;
  done?: () => void;
}

/** A button of something that changes the service. It asks first, and shows what came of it. */
export function Action(props: ActionProps) {
  const { session, ask } = useConsole();
  const hint = useId();
  const barrier = includes(session, props.role)
    ? props.blocked
    : `needs the role ${props.role}; yours is ${session.role}`;
  const name = props.subject === undefined ? props.label : `${props.label} ${props.subject}`;
  return (
    <span class="action">
      <button type="button" aria-label={name} disabled={barrier !== undefined} onClick={() => ask(props)}
        aria-describedby={barrier === undefined ? undefined : hint}>
        {props.label}
      </button>
      {barrier !== undefined && <small id={hint} class="note">{barrier}</small>}
    </span>
  );
}

type Step =
  | { at: "asking" | "working" }
  | { at: "done"; outcome: ComponentChildren }
  | { at: "failed"; problem: Problem };

/** The dialog of an action. It is not part of the row that it is about, which may leave its list. */
export function Confirmation(props: ActionProps & { close: () => void }) {
  const { question, consequences, fields = [], perform, done, close, label } = props;
  const { announce } = useConsole();
  const dialog = useRef<HTMLDialogElement>(null);
  const [key] = useState(newKey);
  const [step, setStep] = useState<Step>({ at: "asking" });
  const [values, setValues] = useState(() => Object.fromEntries(fields.map((each) => [each.name, each.value])));
  const heading = useId();
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useEffect(() => {
    if (step.at === "done") dialog.current?.querySelector<HTMLElement>("button")?.focus();
  }, [step]);

  const send = async (event: Event) => {
    event.preventDefault();
    if (step.at === "working") return;
    setStep({ at: "working" });
    try {
      setStep({ at: "done", outcome: await perform(values, key) });
      announce(`${label}: done.`);
      done?.();
    } catch (error) {
      setStep({ at: "failed", problem: problemFrom(error) });
    }
  };

  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={close}>
      <h2 id={heading}>{question}</h2>
      {step.at === "done"
        ? <>
            <div role="status" class="outcome">{step.outcome}</div>
            <p class="buttons"><button type="button" onClick={() => dialog.current?.close()}>Close</button></p>
          </>
        : <form onSubmit={send}>
            <div class="consequences">{consequences}</div>
            {fields.map((field) => (
              <Input key={field.name} field={field} value={values[field.name] ?? ""}
                change={(value) => setValues((before) => ({ ...before, [field.name]: value }))} />
            ))}
            {step.at === "failed" && <Trouble problem={step.problem} />}
            <p class="buttons">
              <button type="button" onClick={() => dialog.current?.close()}>Cancel</button>
              <button type="submit" class={props.dangerous ? "dangerous" : "primary"} aria-disabled={step.at === "working"}>
                {step.at === "working" ? "Working…" : step.at === "failed" ? "Try again" : label}
              </button>
            </p>
          </form>}
    </dialog>
  );
}

/** Say what became of an act that a second administrator, or another signer, may have to agree to. */
export function GovernedOutcome({ reply }: { reply: Governed }) {
  switch (reply.mode) {
    case "approval":
      return <p>It waits for a second administrator, until {reply.approval?.expires_at}: see <a href="#/approvals">Approvals</a>. Nothing has changed yet.</p>;
    case "submitted":
      return <p>Submitted as <code class="key">{reply.signature}</code>. It takes effect once the chain confirms it.</p>;
    case "cosign":
      return <><p>A wallet holds governance. It has to sign this transaction, and post it to <code>/api/transactions</code>:</p><textarea readOnly aria-label="Transaction to sign, in base64" value={reply.transaction} /></>;
    case "proposal":
      return <><p>The program <code class="key">{reply.governance}</code> holds governance. Propose these instructions there:</p><textarea readOnly aria-label="Instructions to propose" value={JSON.stringify(reply.instructions)} /></>;
    default:
      return <p>Done.</p>;
  }
}
