// The movements of a vault, kept up to date by a stream.

import type { StreamMessage } from "cvms-client";

export interface Movement {
  readonly topic: string;
  readonly kind: string;
  readonly amount: bigint;
  readonly slot: bigint;
  readonly signature: string | null;
}

/**
 * What a client makes of a stream's messages.
 *
 * A snapshot replaces what was known of its topic, also after a `reset`; an event adds; a retracted
 * event takes back the one with the same signature and content.
 */
export class Movements {
  #known: Movement[] = [];

  apply(message: StreamMessage): void {
    const { topic } = message;
    if (message.type === "snapshot") {
      const { transactions } = message.data as { transactions: Record<string, unknown>[] };
      const listed = transactions.map((each) => movement(topic, each, each));
      this.#known = [...listed, ...this.#known.filter((each) => each.topic !== topic)];
      return;
    }
    const found = movement(topic, message.data, message);
    if (message.type === "event") this.#known.unshift(found);
    else {
      const place = this.#known.findIndex((each) => isSame(each, found));
      if (place >= 0) this.#known.splice(place, 1);
    }
  }

  newestFirst(): readonly Movement[] {
    return [...this.#known].sort((one, other) => Number(other.slot - one.slot));
  }
}

type Data = Readonly<Record<string, unknown>>;

function movement(topic: string, data: Data, { slot, signature }: Partial<Movement>): Movement {
  const { kind, amount } = data;
  return {
    topic,
    kind: String(kind ?? topic),
    amount: BigInt(String(amount)),
    slot: slot ?? 0n,
    signature: signature ?? null,
  };
}

function isSame(one: Movement, other: Movement): boolean {
  return one.signature === other.signature && one.amount === other.amount && one.kind === other.kind;
}
