// A stream of events over WebSocket that survives lost connections.
//
// After each loss it subscribes again from the last `seq` it delivered, so that the service replays
// the missed events, or reports that it no longer can. A browser cannot stop a WebSocket from
// receiving: with too many unread messages the stream closes its connection, and resumes where it
// was once they are read. No event is lost.

import { ClientError } from "./errors.js";
import { StreamCursors, StreamDesynchronized, type StreamMessage, type Topic } from "./cursors.js";
import { FIRST_DELAY, jittered, MAX_DELAY } from "./http.js";

// Above 1,000, the events of the longest replay.
const MAX_QUEUED = 2000;
const GREETING_SECONDS = 10;
// Silence is noticed after at most three of these, 39 seconds.
const WATCH_SECONDS = 13;
const BURST = 25; // per second, below the 50 frames per second that the service accepts

type Socket = Pick<WebSocket, "send" | "close" | "onmessage" | "onclose" | "onerror">;
type OpenSocket = (url: string) => Promise<Socket>;

/**
 * An endless iterator, which connects when it is first read.
 *
 * Leaving `for await` ends it, as `close` does. Reading throws errors that a new connection would
 * not change: SubscriptionRefused for a topic, ClientError for a frame that it cannot decode.
 */
export class Stream implements AsyncIterableIterator<StreamMessage> {
  readonly #cursors: StreamCursors;
  readonly #queue: StreamMessage[] = [];
  #failure: unknown;
  #closed = false;
  #started = false;
  #loseConnection = (): void => {};
  // What waits for a message, and for room in the queue or the next connection.
  #wakeReader = (): void => {};
  #wakeConnection = (): void => {};

  constructor(
    private readonly url: string,
    topics: Iterable<Topic>,
    private readonly noteSlot: (slot: bigint) => void,
    private readonly openSocket: OpenSocket = openWebSocket,
  ) {
    this.#cursors = new StreamCursors(topics);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<StreamMessage, undefined>> {
    if (!this.#started) {
      this.#started = true;
      void this.#keepConnected();
    }
    for (;;) {
      const message = this.#queue.shift();
      if (message !== undefined) {
        if (this.#queue.length === 0) this.#wakeConnection();
        if (message.type !== "snapshot") this.noteSlot(message.slot);
        return { done: false, value: message };
      }
      if (this.#closed) return { done: true, value: undefined };
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => (this.#wakeReader = resolve));
    }
  }

  async return(): Promise<IteratorResult<StreamMessage, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  /** End the stream and its connection. */
  close(): void {
    this.#closed = true;
    this.#queue.length = 0;
    this.#loseConnection();
    this.#wakeConnection();
    this.#wakeReader();
  }

  get #ended(): boolean {
    return this.#closed || this.#failure !== undefined;
  }

  /** Connect, and reconnect after each loss, until the service refuses. */
  async #keepConnected(): Promise<void> {
    let delay = FIRST_DELAY;
    while (!this.#ended) {
      const started = performance.now();
      try {
        await this.#receive();
      } catch (error) {
        if (!(error instanceof StreamDesynchronized)) this.#failure = error;
      }
      this.#wakeReader();
      if (this.#ended) return;
      if (this.#queue.length >= MAX_QUEUED) {
        await new Promise<void>((resolve) => (this.#wakeConnection = resolve));
      } else {
        if (performance.now() - started > delay * 1000) delay = FIRST_DELAY;
        await this.#pause(jittered(delay));
        delay = Math.min(delay * 2, MAX_DELAY);
      }
    }
  }

  #pause(seconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#wakeConnection = () => {
        if (!this.#closed) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Queue the messages of one connection until it is lost. */
  async #receive(): Promise<void> {
    const socket = await this.openSocket(this.url);
    const timers = new Set<ReturnType<typeof setTimeout>>();
    const after = (seconds: number, act: () => void): void => {
      const timer = setTimeout(() => {
        timers.delete(timer);
        act();
      }, seconds * 1000);
      timers.add(timer);
    };
    let lost = false;
    try {
      await new Promise<void>((resolve, reject) => {
        const lose = (): void => {
          lost = true;
          resolve();
        };
        this.#loseConnection = lose;
        let greeted = false;
        let heard = true;
        let asked = false;
        after(GREETING_SECONDS, () => {
          if (!greeted) lose();
        });
        // A lost network closes no socket: silence after a ping does.
        const watch = (): void => {
          if (asked && !heard) return lose();
          asked = !heard;
          if (asked) socket.send('{"op":"ping"}');
          heard = false;
          after(WATCH_SECONDS, watch);
        };
        const subscribe = (requests: string[]): void => {
          requests.slice(0, BURST).forEach((request) => socket.send(request));
          if (requests.length > BURST) after(1, () => subscribe(requests.slice(BURST)));
        };
        socket.onclose = socket.onerror = lose;
        socket.onmessage = ({ data }: { data: unknown }) => {
          if (lost || this.#ended) return;
          heard = true;
          if (!greeted) {
            greeted = true;
            subscribe(this.#cursors.requests());
            after(WATCH_SECONDS, watch);
            return;
          }
          try {
            if (typeof data !== "string") throw new ClientError("a binary frame of the service");
            const message = this.#cursors.read(data);
            if (message === undefined) return;
            this.#queue.push(message);
            this.#wakeReader();
            if (this.#queue.length >= MAX_QUEUED) lose();
          } catch (error) {
            lost = true;
            reject(error);
          }
        };
        if (this.#closed) lose();
      });
    } finally {
      timers.forEach(clearTimeout);
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
  }
}

/** Open a WebSocket of the browser or of Node, or of a package where Node has none. */
async function openWebSocket(url: string): Promise<Socket> {
  const kind = globalThis.WebSocket ?? (await import("ws")).WebSocket;
  return new kind(url);
}
