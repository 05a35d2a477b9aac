import { useEffect, useRef } from "preact/hooks";

import { useResource } from "../../api/shared";
import { numberText, valueText } from "../../parts/format";
import { Badge, Key, type Tone, Trouble } from "../../parts/shown";
import type { TransactionState } from "../types";

const POLL_MS = 2_000; // beside the stream, which may be away
const ENDED = ["finalized", "failed", "expired", "quarantined"];

interface FollowingProps {
  signature: string;
  /** Called once, when the chain has confirmed it. */
  confirmed: (slot: number) => void;
}

/** The state of a transaction, live, until it is final. */
export function Following({ signature, confirmed }: FollowingProps) {
  const { data, problem, reload } = useResource<TransactionState>(`api/transactions/${signature}`, "transaction_update");
  const told = useRef(false);
  const ended = data !== null && ENDED.includes(data.status);
  useEffect(() => {
    if (ended) return;
    const timer = window.setInterval(() => void reload(), POLL_MS);
    return () => window.clearInterval(timer);
  }, [ended, reload]);
  useEffect(() => {
    if (data === null || told.current || data.slot === null || !["confirmed", "finalized"].includes(data.status)) return;
    told.current = true;
    confirmed(data.slot);
  }, [data?.status]);
  const { text, tone } = explained(data);
  return (
    <div class={tone === "critical" ? "trouble" : "outcome"}>
      <p role="status"><Badge text={data?.status ?? "sent"} tone={tone} /> {text}</p>
      <p class="note">Transaction <Key text={signature} /></p>
      {problem && problem.status !== 404 && <Trouble problem={problem} />}
    </div>
  );
}

function explained(state: TransactionState | null): { text: string; tone: Tone } {
  switch (state?.status) {
    case "confirmed":
      return { text: `The chain has confirmed it, in slot ${numberText(state.slot)}. It is final in a few seconds.`, tone: "good" };
    case "finalized":
      return { text: `It is final, in slot ${numberText(state.slot)}.`, tone: "good" };
    case "failed":
      return { text: `The chain has refused it: ${valueText(state.error)}. Nothing moved. Close this, look at your balances, and try again.`, tone: "critical" };
    case "expired":
      return { text: "It never landed, and never will. Nothing moved. Close this, and try again.", tone: "critical" };
    case "quarantined":
      return { text: "Nobody can tell yet whether it has landed. Do not repeat it: give its signature to whoever runs the service.", tone: "critical" };
    default:
      return state?.error
        ? { text: `It has failed in a block that is not final: ${valueText(state.error)}. The service tries again.`, tone: "warning" }
        : { text: "It is sent, and waits for the chain. You may close this: it goes on.", tone: "plain" };
  }
}
