import type { ComponentChildren } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";

import { Problem, problemFrom } from "../../api/client";
import type { Field } from "../../parts/fields";
import { type Owned, useOwned } from "../context";
import { fromBase64, toBase64 } from "../signing/base58";
import { decodeTransaction } from "../signing/message";
import { type Expected, review, type Review } from "../signing/review";
import type { Reply } from "../types";
import { Attempt, mayHaveArrived } from "./attempt";
import { Following } from "./following";
import { Asking, Ended, Reviewing, Unanswered, Working } from "./steps";

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
  /** Send the request. Throws a Problem, also about the fields. */
  ask: (values: Values, attempt: Attempt) => Promise<Reply>;
  /** What to show of a reply without a transaction. */
  outcome?: (reply: Reply) => ComponentChildren;
}

type Step =
  | { at: "asking"; problem?: Problem }
  | { at: "working"; note: string; text?: string }
  | { at: "review"; transaction: string; found: Review; problem?: Problem }
  | { at: "unanswered"; signed: string; problem: Problem }
  | { at: "sent"; signature: string }
  | { at: "done"; outcome: ComponentChildren };

const CODE: Field = {
  name: "code", label: "Code of your second factor", value: "", maxLength: 32, autocomplete: "one-time-code",
};

/** The dialog of an operation: what is asked for, what the wallet signs, and what came of it. */
export function Operation(props: OperationProps & { close: () => void }) {
  const owned = useOwned();
  const fields = [...(props.fields ?? []), ...(props.guarded && owned.secondFactor.data?.enabled ? [CODE] : [])];
  const [values, setValues] = useState<Values>(() => Object.fromEntries(fields.map((each) => [each.name, each.value])));
  const { step, request, sign, submit } = useSteps(props, owned, values);
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  useEffect(() => dialog.current?.showModal(), []);
  useEffect(() => {
    if (step.at !== "asking") heading.current?.focus();
  }, [step.at]);
  const close = () => dialog.current?.close();
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={props.close}>
      <h2 id={id} ref={heading} tabIndex={-1}>{props.question}</h2>
      {step.at === "asking" && <Asking about={props.about} fields={fields} values={values} change={setValues} problem={step.problem} send={() => void request()} close={close} />}
      {step.at === "working" && <Working note={step.note} text={step.text} />}
      {step.at === "review" && <Reviewing found={step.found} problem={step.problem} sign={() => void sign(step.transaction, step.found)} close={close} />}
      {step.at === "unanswered" && <Unanswered problem={step.problem} again={() => void submit(step.signed)} close={close} />}
      {step.at === "sent" && <Ended close={close}><Following signature={step.signature} confirmed={(slot) => void readAfter(slot, owned)} /></Ended>}
      {step.at === "done" && <Ended close={close}><div class="outcome">{step.outcome}</div></Ended>}
    </dialog>
  );
}

/** Keep the step of an operation, and the ways to the next one. */
function useSteps({ label, expected, ask, outcome }: OperationProps, owned: Owned, values: Values) {
  const { api, signer, deployment, owner, announce } = owned;
  const [step, setStep] = useState<Step>({ at: "asking" });
  const attempt = useMemo(() => new Attempt(api, signer, (text) => {
    setStep({ at: "working", note: `${signer?.wallet.name} asks you to sign this text. Sign it only if it is the same there.`, text });
  }), []);

  const request = async () => {
    setStep({ at: "working", note: "The service prepares it…" });
    try {
      await show(await ask(values, attempt));
    } catch (error) {
      setStep({ at: "asking", problem: problemFrom(error) });
    }
  };

  const show = async (reply: Reply) => {
    if (reply.transaction !== undefined && expected && signer !== null && deployment !== null) {
      const message = decodeTransaction(fromBase64(reply.transaction));
      const found = await review(message, { expected: expected(values), owner, signer: signer.address, deployment });
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
      // A rebuilt transaction is not signed here: it is another one to review.
      const { transaction: _rebuilt, ...reply } = await api.post<Reply>("api/transactions", { transaction: signed });
      await show(reply);
    } catch (error) {
      const problem = problemFrom(error);
      setStep(mayHaveArrived(error) ? { at: "unanswered", signed, problem } : { at: "asking", problem });
    }
  };

  return { step, request, sign, submit };
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
