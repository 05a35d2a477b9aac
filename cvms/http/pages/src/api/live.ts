import { parseExactly } from "./exact_json";

export const CONSOLE_TOPICS = ["operations", "security_alert", "transaction_update"] as const;
export const OWNER_TOPICS = [
  "vault_balance_update", "deposit_event", "withdraw_event", "lock_event", "unlock_event",
  "transfer_event", "timelock_event", "yield_event", "transaction_update",
] as const;
export type Topic = (typeof CONSOLE_TOPICS)[number] | (typeof OWNER_TOPICS)[number] | "multisig_event";

/**
 * `reset`: what was known of the topic is out of date, and a snapshot follows. `ended`: a
 * subscription that was made with `ask` is over; `data` says why.
 */
export interface Frame {
  type: "snapshot" | "event" | "retracted" | "reset" | "ended";
  topic: Topic;
  data: unknown;
}

/** Whether frames arrive, since when it is so, and why not. */
export interface LiveState {
  live: boolean;
  since: Date;
  reason: string;
}

interface Received {
  type: string;
  topic?: Topic;
  seq?: number;
  snapshot?: unknown;
  data?: unknown;
  code?: string;
  detail?: string;
}

const PING_MS = 5_000;
const SILENCE_MS = 12_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const ENDS_SESSION = ["invalid_token", "not_allowed", "admin_disabled"];

interface LiveOptions {
  topics: readonly Topic[];
  /** What each subscription has beside its topic: the token, or the owner. */
  fields: Record<string, string>;
  /** The way from the page to the service's root. */
  root?: string;
  refused: (detail: string) => void;
}

/** One WebSocket with a page's topics. It connects again, and goes on where it was. */
export class Live {
  state: LiveState = { live: false, since: new Date(), reason: "connecting" };
  private socket: WebSocket | null = null;
  private readonly seqs = new Map<Topic, number>();
  private readonly pending = new Set<Topic>();
  private readonly asked = new Set<Topic>();
  private readonly listeners = new Set<(frame: Frame) => void>();
  private readonly watchers = new Set<() => void>();
  private heard = 0;
  private without = "";
  private wait = FIRST_WAIT_MS;
  private retry = 0;
  private ping = 0;

  constructor(private readonly options: LiveOptions) {}

  start(): void {
    this.connect();
    this.ping = window.setInterval(() => this.beat(), PING_MS);
  }

  stop(): void {
    window.clearInterval(this.ping);
    window.clearTimeout(this.retry);
    this.drop();
  }

  /** Call `listener` with each frame, until the returned function is called. */
  listen(listener: (frame: Frame) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Call `watcher` when `state` changes, until the returned function is called. */
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  /** Subscribe once to a topic that needs a proof of its own, which does not outlive the connection. */
  ask(topic: Topic, fields: Record<string, string>): void {
    this.asked.add(topic);
    this.pending.add(topic);
    if (this.socket?.readyState === WebSocket.OPEN) this.send({ op: "subscribe", topic, ...fields });
    else this.end(topic, "There is no connection to the service. Try again once the page is live.");
  }

  private end(topic: Topic, reason: string): void {
    this.pending.delete(topic);
    if (this.asked.delete(topic)) this.emit({ type: "ended", topic, data: reason });
  }

  private connect(): void {
    const url = new URL(`${this.options.root ?? ""}ws`, document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.without = "";
    this.heard = Date.now();
    socket.onopen = () => this.options.topics.forEach((topic) => this.subscribe(topic));
    socket.onmessage = ({ data }) => this.receive(parseExactly(String(data)) as Received);
    socket.onclose = ({ code }) => this.lost(`the connection was closed (${code})`);
  }

  private subscribe(topic: Topic): void {
    const since = this.seqs.get(topic);
    this.pending.add(topic);
    this.send({ op: "subscribe", topic, ...this.options.fields, ...(since === undefined ? {} : { since }) });
  }

  private send(frame: object): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  private receive(frame: Received): void {
    this.heard = Date.now();
    if (frame.type === "error") return this.fail(frame);
    const { topic, seq } = frame;
    if (topic === undefined) return;
    if (frame.type === "reset") {
      this.seqs.delete(topic);
      this.emit({ type: "reset", topic, data: null });
    } else if (frame.type === "subscribed") {
      if (seq !== undefined) this.seqs.set(topic, seq);
      this.pending.delete(topic);
      this.emit({ type: "snapshot", topic, data: frame.snapshot ?? null });
      if (this.pending.size === 0) this.resume();
    } else if (frame.type === "event" || frame.type === "retracted") {
      if (seq !== undefined && seq <= (this.seqs.get(topic) ?? -1)) return;
      if (seq !== undefined) this.seqs.set(topic, seq);
      this.emit({ type: frame.type, topic, data: frame.data });
    }
  }

  private emit(frame: Frame): void {
    for (const listener of this.listeners) listener(frame);
  }

  private resume(): void {
    this.wait = FIRST_WAIT_MS;
    this.change(true, this.without);
  }

  private fail({ code = "", detail = "", topic }: Received): void {
    const [asked = topic] = this.pending; // subscriptions are answered in their order
    if (asked !== undefined && this.asked.has(asked)) this.end(asked, detail);
    else if (ENDS_SESSION.includes(code)) this.options.refused(detail);
    else if (code === "invalid_request" && asked !== undefined) this.goWithout(asked);
    else this.lost(detail);
  }

  /** Accept that a replica of another version does not know a topic. */
  private goWithout(topic: Topic): void {
    this.pending.delete(topic);
    this.without = `without ${topic}: this replica does not know it`;
    if (this.pending.size === 0) this.resume();
  }

  private beat(): void {
    if (this.socket === null) return;
    if (Date.now() - this.heard > SILENCE_MS) this.lost("the service sends nothing");
    else this.send({ op: "ping" });
  }

  /** Connect again after a growing, random wait. */
  private lost(reason: string): void {
    this.drop();
    for (const topic of this.asked) this.end(topic, `The connection was lost: ${reason}.`);
    this.change(false, reason);
    window.clearTimeout(this.retry);
    this.retry = window.setTimeout(() => this.connect(), this.wait * (0.5 + Math.random()));
    this.wait = Math.min(this.wait * 2, LONGEST_WAIT_MS);
  }

  private drop(): void {
    if (this.socket === null) return;
    this.socket.onclose = this.socket.onmessage = this.socket.onopen = null;
    this.socket.close();
    this.socket = null;
    this.pending.clear();
  }

  private change(live: boolean, reason: string): void {
    const since = live === this.state.live ? this.state.since : new Date(live ? Date.now() : this.heard);
    this.state = { live, since, reason };
    for (const watcher of this.watchers) watcher();
  }
}
