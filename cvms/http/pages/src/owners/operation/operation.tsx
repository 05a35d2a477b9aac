import type { ComponentChildren } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";

import { Problem, problemFrom } from "../../api/client";
import { type Field, Input } from "../../parts/fields";
import { Facts, Trouble } from "../../parts/shown";
import { type Owned, useOwned } from "../context";
import { fromBase64, toBase64 } from "../signing/base58";
import { decodeTransaction } from "../signing/message";
import { type Expected, review, type Review } from "../signing/review";
import type { Reply } from "../types";
import { Attempt, mayHaveArrived } from "./attempt";
import { Following } from "./following";

type Values = Record<string, string>;

export interface OperationProps {
  label: string;
  question: string;
  about: ComponentChildren;
  fields?: Field[];
  /** The service asks for a code if the owner has a second factor. */
  guarded?: boolean;
  /** What the transaction should be. None if nothing is to be signed but the request. */
  expected?: (values: Values) => Expected;
  /** Send the request. Throws an Error that says which field is wrong. */
  ask: (values: Values, attempt: Attempt) => Promise<Reply>;
  /** What to show of a reply without a transaction. */
  outcome?: (reply: Reply) => ComponentChildren;
}

type Step =
  | { at: "asking"; problem?: Problem }
  | { at: "working"; note: string; text?: string }
  | { at: "review"; transaction: string; found: Review; problem?: Problem }
  | { at: "sending"; signed: string; problem: Problem }
  | { at: "sent"; signature: string }
  | { at: "done"; outcome: ComponentChildren };

const CODE: Field = { name: "code", label: "Code of your second factor", value: "", maxLength: 32 };

/** The dialog of an operation: what is asked for, what the wallet signs, and what came of it. */
export function Operation(props: OperationProps & { close: () => void }) {
  const { label, question, about, guarded = false, expected, ask, outcome, close } = props;
  const owned = useOwned();
  const { api, signer, deployment, owner, announce, secondFactor } = owned;
  const fields = guarded && secondFactor.data?.enabled ? [...(props.fields ?? []), CODE] : (props.fields ?? []);
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  const [step, setStep] = useState<Step>({ at: "asking" });
  const [values, setValues] = useState<Values>(() => Object.fromEntries(fields.map((each) => [each.name, each.value])));
  const attempt = useMemo(() => new Attempt(api, signer, (text) => {
    setStep({ at: "working", note: `${signer?.wallet.name} asks you to sign this text. Sign it only if it is the same there.`, text });
  }), []);
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    if (step.at !== "asking") heading.current?.focus();
  }, [step.at]);

  const request = async (event: Event) => {
    event.preventDefault();
    setStep({ at: "working", note: "The service prepares it…" });
    try {
      show(await ask(values, attempt));
    } catch (error) {
      setStep({ at: "asking", problem: problemFrom(error) });
    }
  };

  const show = (reply: Reply) => {
    if (reply.transaction !== undefined && expected && signer !== null && deployment !== null) {
      const message = decodeTransaction(fromBase64(reply.transaction));
      const found = review(message, { expected: expected(values), owner, signer: signer.address, deployment });
      setStep({ at: "review", transaction: reply.transaction, found });
    } else if (reply.signature) {
      setStep({ at: "sent", signature: reply.signature });
    } else {
      announce(`${label}: done.`);
      setStep({ at: "done", outcome: outcome?.(reply) ?? <p>Done.</p> });
    }
  };

  const sign = async (transaction: string, found: Review) => {
    if (signer === null || deployment === null) return;
    setStep({ at: "working", note: `${signer.wallet.name} asks you to sign the transaction.` });
    try {
      const signed = await signer.signTransaction(fromBase64(transaction), deployment.chain.chain_id);
      await submit(toBase64(signed));
    } catch (error) {
      setStep({ at: "review", transaction, found, problem: problemFrom(error) });
    }
  };

  const submit = async (signed: string) => {
    setStep({ at: "working", note: "The service checks it, and sends it…" });
    try {
      const { transaction: _rebuilt, ...reply } = await api.post<Reply>("api/transactions", { transaction: signed });
      show(reply);
    } catch (error) {
      const problem = problemFrom(error);
      setStep(mayHaveArrived(error) ? { at: "sending", signed, problem } : { at: "asking", problem });
    }
  };

  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={close}>
      <h2 id={id} ref={heading} tabIndex={-1}>{question}</h2>
      {step.at === "asking" && (
        <form onSubmit={(event) => void request(event)}>
          {about}
          {fields.map((field) => (
            <Input key={field.name} field={field} value={values[field.name] ?? ""}
              change={(value) => setValues({ ...values, [field.name]: value })} />
          ))}
          {step.problem && <Trouble problem={step.problem} />}
          <p class="buttons">
            <Close dialog={dialog} label="Cancel" />
            <button type="submit" class="primary">{step.problem ? "Try again" : "Continue"}</button>
          </p>
        </form>
      )}
      {step.at === "working" && (
        <div role="status">
          <p>{step.note}</p>
          {step.text !== undefined && <pre class="text"><code>{step.text}</code></pre>}
        </div>
      )}
      {step.at === "review" && (
        <>
          <p>This is what you sign. The transaction was read in your browser, not described by the service.</p>
          <Facts rows={step.found.rows} />
          {step.found.faults.length > 0
            ? <div class="trouble" role="alert">
                <p><strong>Do not sign this.</strong></p>
                <ul>{step.found.faults.map((each) => <li key={each}>{each}</li>)}</ul>
                <p>It is not what you have asked for, so the page does not give it to your wallet. Report it to whoever runs the service.</p>
              </div>
            : step.problem && <Trouble problem={step.problem} />}
          <p class="buttons">
            <Close dialog={dialog} label="Cancel" />
            {step.found.faults.length === 0 && (
              <button type="button" class="primary" onClick={() => void sign(step.transaction, step.found)}>
                {step.problem ? "Try again" : "Sign and send"}
              </button>
            )}
          </p>
        </>
      )}
      {step.at === "sending" && (
        <>
          <Trouble problem={step.problem} />
          <p>It is signed, and may have arrived. Sent again, it takes effect once.</p>
          <p class="buttons">
            <Close dialog={dialog} label="Close" />
            <button type="button" class="primary" onClick={() => void submit(step.signed)}>Send again</button>
          </p>
        </>
      )}
      {step.at === "sent" && <Following signature={step.signature} confirmed={(slot) => void readAfter(slot, owned)} />}
      {step.at === "done" && <div class="outcome">{step.outcome}</div>}
      {(step.at === "sent" || step.at === "done") && <p class="buttons"><Close dialog={dialog} label="Close" /></p>}
    </dialog>
  );
}

function Close({ dialog, label }: { dialog: preact.RefObject<HTMLDialogElement | null>; label: string }) {
  return <button type="button" onClick={() => dialog.current?.close()}>{label}</button>;
}

const READ_TRIES = 20;
const READ_MS = 500;

/** Read the vault again once the slot is indexed. */
async function readAfter(slot: number, { api, owner, vault }: Owned): Promise<void> {
  for (let tries = 0; tries < READ_TRIES; tries += 1) {
    try {
      await api.get(`api/vault/${owner}`, { "X-Min-Slot": String(slot) });
      break;
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "slot_not_indexed") break;
      await new Promise((wake) => window.setTimeout(wake, READ_MS));
    }
  }
  await vault.reload();
}
