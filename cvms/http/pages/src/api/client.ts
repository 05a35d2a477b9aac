import { parseExactly } from "./exact_json";

const DEADLINE_MS = 20_000; // the service ends a request after 15 s

/** A request that did not succeed: what happened (`title`, `detail`) and what to do (`advice`). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly advice: string,
    readonly requestId: string | null,
  ) {
    super(`${title}: ${detail}`);
  }
}

/** What to do after a refusal: by its code, by that and the program's error, and otherwise. */
export interface Advice {
  byCode: Record<string, string>;
  otherwise: string;
}

interface ApiOptions {
  /** The way from the page to the service's root, as in `../`. */
  root?: string;
  headers?: Record<string, string>;
  advice: Advice;
  refused?: (problem: Problem) => void;
}

/** The service's interface. */
export class Api {
  constructor(private readonly options: ApiOptions) {}

  async get<T>(path: string, headers: Record<string, string> = {}): Promise<T> {
    return (await this.request("GET", path, undefined, headers)) as T;
  }

  /** Post a body. With a key, a repeated request has one effect. */
  async post<T>(path: string, body?: unknown, key?: string, headers: Record<string, string> = {}): Promise<T> {
    const named = key === undefined ? headers : { ...headers, "Idempotency-Key": key };
    return (await this.request("POST", path, body, named)) as T;
  }

  async put<T>(path: string, body: unknown): Promise<T> {
    return (await this.request("PUT", path, body)) as T;
  }

  /** Return a document as the bytes that it is, for a file. */
  async download(path: string): Promise<Blob> {
    return (await this.respond("GET", path)).blob();
  }

  private async request(method: string, path: string, body?: unknown, own?: Record<string, string>): Promise<unknown> {
    const text = await (await this.respond(method, path, body, own)).text();
    return text === "" ? null : parseExactly(text);
  }

  private async respond(method: string, path: string, body?: unknown, own: Record<string, string> = {}): Promise<Response> {
    const { root = "", advice, refused } = this.options;
    const headers: Record<string, string> = { ...this.options.headers, ...own };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const init = { method, headers, signal, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    let response: Response;
    try {
      response = await fetch(root + path, init);
    } catch (error) {
      throw unanswered(error, advice);
    }
    if (response.ok) return response;
    const problem = await problemOf(response, path, advice);
    if (problem.code === "invalid_token") refused?.(problem);
    throw problem;
  }
}

function unanswered(error: unknown, advice: Advice): Problem {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    const detail = `The service has not answered within ${DEADLINE_MS / 1000} s.`;
    return new Problem(0, "timeout", "No answer", detail, advice.byCode["timeout"] ?? advice.otherwise, null);
  }
  const detail = "The request did not reach the service, or its answer did not arrive.";
  const todo = "Check your connection, and that the service runs. If it was an action, look whether it had an effect before you repeat it.";
  return new Problem(0, "unreachable", "Service not reached", detail, advice.byCode["unreachable"] ?? todo, null);
}

async function problemOf(response: Response, path: string, { byCode, otherwise }: Advice): Promise<Problem> {
  const id = response.headers.get("X-Request-Id");
  let body: Record<string, unknown> = {};
  try {
    body = (await response.json()) as Record<string, unknown>;
  } catch {
    // A proxy answered. The status has to do.
  }
  const code = String(body["code"] ?? response.status);
  const title = String(body["title"] ?? `Status ${response.status}`);
  const detail = String(body["detail"] ?? `${path} was answered with status ${response.status} and no reason.`);
  const named = (body["program_error"] as { name?: string } | undefined)?.name;
  const advice = byCode[`${code} ${named}`] ?? byCode[code] ?? otherwise;
  return new Problem(response.status, code, title, detail, advice, id);
}

/** Return what went wrong, whatever was thrown. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new Problem(0, "page", "Error in the page", detail, "Reload the page, and report it.", null);
}

/** Return a new Idempotency-Key. `crypto.randomUUID` needs https, this does not. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
}
