// The movements of a vault in one topic, newest first, kept up to date by a stream.
// docs/websocket.md shows this function.

import type { StreamMessage } from "cvms-client";

export interface Movement {
  readonly signature: string | null;
  readonly kind: string;
  readonly amount: bigint;
  readonly slot: bigint;
}

export function apply(known: readonly Movement[], message: StreamMessage): readonly Movement[] {
  if (message.type === "snapshot") {
    // Also after a reset: forget what was known.
    return (message.data as { transactions: Movement[] }).transactions;
  }
  const { signature, slot, data } = message;
  const movement = { ...(data as { kind: string; amount: bigint }), signature, slot };
  if (message.type === "event") return [movement, ...known];
  const undone = known.findIndex(
    ({ kind, amount, ...each }) =>
      each.signature === signature && kind === movement.kind && amount === movement.amount,
  );
  return known.filter((_, place) => place !== undone);
}
