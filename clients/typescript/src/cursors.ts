// The cursor of each topic of a stream: what to subscribe to, and which frames are new.
// Plain state, no I/O. The same as cvms/client/stream_cursors.py; clients/vectors/stream.json holds both.

import { ClientError, SubscriptionRefused } from "./errors.js";
import { isObject, parseJson, toJson } from "./json.js";

// Only the newest message of these topics matters: their `seq` may have gaps.
const CONFLATED = new Set([
  "vault_balance_update",
  "tvl_update",
  "analytics_update",
  "operations",
]);
// A subscription refused with one of these codes may succeed on the next connection.
const TRANSIENT_CODES = new Set(["database_unavailable", "overloaded", "rate_limited"]);

/** A topic to subscribe to, for one owner or for all. */
export interface Topic {
  readonly name: string;
  readonly owner?: string | undefined;
  /** The `seq` to resume after. */
  readonly since?: bigint | undefined;
  /** An administrator's, for the topics that need one. */
  readonly token?: string | undefined;
}

/**
 * An event or, with type `retracted`, an earlier event that a fork has undone.
 *
 * `seq` grows by one with each event of a topic, over all owners.
 */
export interface Event {
  readonly type: "event" | "retracted";
  readonly topic: string;
  readonly seq: bigint;
  readonly slot: bigint;
  readonly commitment: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly signature: string | null;
}

/** The state of a topic at `seq`. With `reset`, earlier events were lost. */
export interface Snapshot {
  readonly type: "snapshot";
  readonly topic: string;
  readonly owner: string | null;
  readonly seq: bigint;
  readonly data: unknown;
  readonly reset: boolean;
}

export type StreamMessage = Event | Snapshot;

/** A frame does not follow the last one. Subscribe again on a new connection. */
export class StreamDesynchronized extends Error {}

/** The topics of a stream, and the last `seq` delivered of each. */
export class StreamCursors {
  readonly #topics: Map<string, Topic>;
  readonly #lastSeq = new Map<string, bigint>();
  #unanswered: string[] = [];
  #reset = new Set<string>();

  constructor(topics: Iterable<Topic>) {
    this.#topics = new Map(Array.from(topics, (topic) => [keyOf(topic.name, topic.owner), topic]));
    if (this.#topics.size === 0) throw new ClientError("name a topic to subscribe to");
    for (const [key, { name, owner, since }] of this.#topics) {
      if (owner !== undefined && this.#topics.has(keyOf(name))) {
        throw new ClientError(`${name} of all owners already includes the events of ${owner}`);
      }
      if (since !== undefined) this.#lastSeq.set(key, since);
    }
  }

  /** Return the subscribe frames for a new connection. Replies come in the same order. */
  requests(): string[] {
    this.#unanswered = [...this.#topics.keys()];
    this.#reset = new Set();
    return Array.from(this.#topics, ([key, { name, owner, token }]) =>
      toJson({ op: "subscribe", topic: name, owner, since: this.#lastSeq.get(key), token }),
    );
  }

  /**
   * Return the message in a frame of the service, or undefined.
   *
   * Throws SubscriptionRefused, StreamDesynchronized, and ClientError for an unknown frame.
   */
  read(text: string): StreamMessage | undefined {
    const frame = serverFrame(parseJson(text));
    switch (frame.type) {
      case "event":
      case "retracted":
        return this.#event(eventOf(frame));
      case "reset":
        this.#reset.add(frameKey(frame));
        return undefined;
      case "subscribed":
        return this.#subscribed(frame);
      case "error":
        return this.#refused(frame);
      default:
        return undefined;
    }
  }

  #subscribed(frame: ServerFrame): Snapshot | undefined {
    const key = frameKey(frame);
    const place = this.#unanswered.indexOf(key);
    if (place < 0) return undefined;
    this.#unanswered.splice(place, 1);
    const reset = this.#reset.has(key);
    if (this.#lastSeq.has(key) && !reset) return undefined; // the missed events follow
    this.#lastSeq.set(key, frame.seq);
    const { topic, owner, seq, snapshot } = frame;
    return { type: "snapshot", topic, owner, seq, data: snapshot, reset };
  }

  #refused({ code, detail }: ServerFrame): never {
    if (TRANSIENT_CODES.has(code)) throw new StreamDesynchronized(detail);
    const [first] = this.#unanswered;
    const topic = first === undefined ? undefined : this.#topics.get(first)?.name;
    throw new SubscriptionRefused(topic, code, detail);
  }

  #event(event: Event): Event | undefined {
    let key = keyOf(event.topic);
    const ofAll = this.#topics.has(key);
    if (!ofAll) key = keyOf(event.topic, ownerIn(event.data));
    const last = this.#lastSeq.get(key);
    if (last === undefined || event.seq <= last) return undefined; // delivered before the connection was lost
    if (ofAll && !CONFLATED.has(event.topic) && event.seq !== last + 1n) {
      throw new StreamDesynchronized(`${event.topic} jumps from ${last} to ${event.seq}`);
    }
    this.#lastSeq.set(key, event.seq);
    return event;
  }
}

/** Any frame of the service. */
interface ServerFrame {
  readonly fields: Readonly<Record<string, unknown>>;
  readonly type: string;
  readonly topic: string;
  readonly owner: string | null;
  readonly seq: bigint;
  readonly snapshot: unknown;
  readonly code: string;
  readonly detail: string;
}

function serverFrame(fields: unknown): ServerFrame {
  if (!isObject(fields)) throw undecodable(fields);
  const { type, topic = "", owner = null, seq = 0n, snapshot = null, code = "", detail = "" } = fields;
  const known =
    isString(type) &&
    isString(topic) &&
    (owner === null || isString(owner)) &&
    typeof seq === "bigint" &&
    isString(code) &&
    isString(detail);
  if (!known) throw undecodable(fields);
  return { fields, type, topic, owner, seq, snapshot, code, detail };
}

function eventOf({ fields, type, topic, seq }: ServerFrame): Event {
  const { slot, commitment, data, signature = null } = fields;
  const known =
    (type === "event" || type === "retracted") &&
    fields["topic"] !== undefined &&
    fields["seq"] !== undefined &&
    typeof slot === "bigint" &&
    isString(commitment) &&
    isObject(data) &&
    (signature === null || isString(signature));
  if (!known) throw undecodable(fields);
  return { type, topic, seq, slot, commitment, data, signature };
}

function undecodable(frame: unknown): ClientError {
  return new ClientError(`cannot decode a frame of the service: ${toJson(frame).slice(0, 200)}`);
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}

function ownerIn(data: Event["data"]): string | undefined {
  const owner = data["owner"];
  return isString(owner) ? owner : undefined;
}

function keyOf(topic: string, owner?: string | null): string {
  return owner == null ? topic : `${topic} ${owner}`;
}

function frameKey({ topic, owner }: ServerFrame): string {
  return keyOf(topic, owner);
}
