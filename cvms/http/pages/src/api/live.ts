import { parseExactly } from "./exact_json";

export const TOPICS = ["operations", "security_alert", "transaction_update"] as const;
export type Topic = (typeof TOPICS)[number];

/** `reset`: what was known of the topic is out of date, and a snapshot follows. */
export interface Frame {
  type: "snapshot" | "event" | "retracted" | "reset";
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

/** One WebSocket with the console's topics. It connects again, and goes on where it was. */
export class Live {
  state: LiveState = { live: false, since: new Date(), reason: "connecting" };
  private socket: WebSocket | null = null;
  private readonly seqs = new Map<Topic, number>();
  private readonly pending = new Set<Topic>();
  private readonly listeners = new Set<(frame: Frame) => void>();
  private readonly watchers = new Set<() => void>();
  private heard = 0;
  private without = "";
  private wait = FIRST_WAIT_MS;
  private retry = 0;
  private ping = 0;

  constructor(
    private readonly token: string,
    private readonly refused: (detail: string) => void,
  ) {}

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

  private connect(): void {
    const url = new URL("ws", document.baseURI);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.hash = "";
    const socket = new WebSocket(url);
    this.socket = socket;
    this.without = "";
    this.heard = Date.now();
    socket.onopen = () => TOPICS.forEach((topic) => this.subscribe(topic));
    socket.onmessage = ({ data }) => this.receive(parseExactly(String(data)) as Received);
    socket.onclose = ({ code }) => this.lost(`the connection was closed (${code})`);
  }

  private subscribe(topic: Topic): void {
    const since = this.seqs.get(topic);
    this.pending.add(topic);
    this.send({ op: "subscribe", topic, token: this.token, ...(since === undefined ? {} : { since }) });
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

  private fail({ code = "", detail = "" }: Received): void {
    const [asked] = this.pending; // subscriptions are answered in their order
    if (ENDS_SESSION.includes(code)) this.refused(detail);
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
