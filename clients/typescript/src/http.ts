// HTTP requests, which are repeated until there is a conclusive reply or the time is over.

import { ClientError, Problem, ServiceUnavailable } from "./errors.js";
import { isObject, parseJson, toJson } from "./json.js";

export const PATIENCE_SECONDS = 30;
export const FIRST_DELAY = 0.2;
export const MAX_DELAY = 5;
const REQUEST_SECONDS = 20;
// Sent before the request took effect, or by a proxy that does not know.
const RETRYABLE_STATUSES = new Set([429, 502, 503, 504]);
const NOT_INDEXED = "slot_not_indexed";
// Codes of such replies for which waiting is useless.
const PERMANENT_CODES = new Set([
  "admin_disabled",
  "twofa_disabled",
  "sealing_disabled",
  "sealed_data_unreadable",
]);

export type Method = "GET" | "POST" | "DELETE";
export type Query = Readonly<Record<string, string | number | bigint | null | undefined>>;

export interface RequestOptions {
  readonly body?: unknown;
  readonly query?: Query;
  readonly headers?: Readonly<Record<string, string>>;
  /** Whether the request takes effect once, however often it is sent. By default true. */
  readonly repeatable?: boolean;
}

/** Wait for a number of seconds. */
export function sleep(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000));
}

/** Return a delay, shortened at random so that clients do not return all at once. */
export function jittered(seconds: number): number {
  return seconds * (0.5 + Math.random() / 2);
}

/**
 * JSON over HTTP. Each call returns or throws within `patience` seconds.
 *
 * What it reads is never older than what it has shown before: it remembers the newest slot.
 */
export class RetryingHttp {
  #newestSlot = 0n;

  constructor(
    private readonly url: string,
    private readonly patience: number,
    private readonly fetch: typeof globalThis.fetch,
  ) {}

  /** Require that replies from now on are true for `slot`, or a later one. */
  noteSlot(slot: bigint): void {
    if (slot > this.#newestSlot) this.#newestSlot = slot;
  }

  /** Send a request and return the JSON of its reply. Throws Problem and ServiceUnavailable. */
  async send(method: Method, path: string, options: RequestOptions = {}): Promise<unknown> {
    const deadline = performance.now() + this.patience * 1000;
    const repeatable = options.repeatable ?? true;
    let delay = FIRST_DELAY;
    let failure: unknown;
    do {
      let pause = jittered(delay);
      try {
        const left = Math.max(0, deadline - performance.now());
        return await this.#once(method, path, options, left);
      } catch (error) {
        if (error instanceof Problem) {
          if (!(repeatable && isTransient(error))) throw error;
          // That a slot is indexed takes a fraction of a second.
          if (error.code !== NOT_INDEXED) pause += error.retryAfter;
        } else if (error instanceof ClientError) {
          throw error;
        }
        failure = error;
      }
      if (performance.now() + pause * 1000 > deadline) break;
      await sleep(pause);
      delay = Math.min(delay * 2, MAX_DELAY);
    } while (repeatable);
    throw new ServiceUnavailable(`${method} ${path}: ${String(failure)}`, { cause: failure });
  }

  async #once(
    method: Method,
    path: string,
    { body, query, headers }: RequestOptions,
    leftMilliseconds: number,
  ): Promise<unknown> {
    const bound = method === "GET" && this.#newestSlot > 0n;
    const milliseconds = Math.min(leftMilliseconds, REQUEST_SECONDS * 1000);
    const init: RequestInit = {
      method,
      headers: {
        ...(bound ? { "X-Min-Slot": String(this.#newestSlot) } : {}),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
        ...headers,
      },
      signal: AbortSignal.timeout(Math.ceil(milliseconds)),
    };
    if (body !== undefined) init.body = toJson(body);
    const reply = await this.fetch(this.url + path + queryString(query), init);
    const text = await reply.text();
    const slot = reply.headers.get("x-slot") ?? "";
    if (/^[0-9]{1,19}$/.test(slot)) this.noteSlot(BigInt(slot));
    if (!reply.ok) throw problemOf(reply, text);
    return parseJson(text);
  }
}

/** Return whether the same request may succeed later. */
export function isTransient(problem: Problem): boolean {
  // Without Retry-After the request itself names a slot that is too new.
  if (problem.code === NOT_INDEXED) return problem.retryAfter > 0;
  return RETRYABLE_STATUSES.has(problem.status) && !PERMANENT_CODES.has(problem.code);
}

/** Return the problem in an error reply, whether from the service or from a proxy. */
function problemOf(reply: Response, text: string): Problem {
  const after = reply.headers.get("retry-after") ?? "";
  const seconds = /^[0-9]+$/.test(after) ? Number(after) : 0;
  let body: unknown;
  try {
    body = parseJson(text);
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
  }
  const problem = isObject(body) ? body : { detail: reply.statusText };
  return new Problem(reply.status, problem, seconds);
}

function queryString(query: Query = {}): string {
  const given = Object.entries(query).filter(([, value]) => value != null);
  if (given.length === 0) return "";
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}
