import { parseExactly } from "./exact_json";
import type { Session } from "./session";

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

const ADVICE: Record<string, string> = {
  invalid_token: "Sign in with a new token of `cvms token`.",
  not_allowed: "Ask somebody who has the role, or sign in with a token that has it.",
  database_unavailable: "Look at the component database under Overview. Nothing was changed; try again.",
  chain_unavailable: "No RPC node answers: look at the endpoints under Overview, then try again.",
  rate_limited: "Wait a moment, then try again.",
  overloaded: "Wait a moment, then try again.",
  approval_ended: "Reload the list: somebody has decided it, or its hour is over.",
  settlement_contradicted: "Read the evidence again. Settle against it only if you know more than the nodes.",
  conflict: "Reload the page: the state has changed meanwhile.",
  timeout: "The service is slow. Reload to see whether the request had an effect before you repeat it.",
};

/** The service's interface, as one administrator. */
export class Api {
  constructor(
    readonly session: Session,
    private readonly refused: (problem: Problem) => void,
  ) {}

  async get<T>(path: string): Promise<T> {
    return (await this.request("GET", path)) as T;
  }

  /** Post a body. With a key, a repeated request has one effect. */
  async post<T>(path: string, body?: unknown, key?: string): Promise<T> {
    return (await this.request("POST", path, body, key)) as T;
  }

  async put<T>(path: string, body: unknown): Promise<T> {
    return (await this.request("PUT", path, body)) as T;
  }

  /** Return a document as the bytes that it is, for a file. */
  async download(path: string): Promise<Blob> {
    return (await this.respond("GET", path)).blob();
  }

  private async request(method: string, path: string, body?: unknown, key?: string): Promise<unknown> {
    const text = await (await this.respond(method, path, body, key)).text();
    return text === "" ? null : parseExactly(text);
  }

  private async respond(method: string, path: string, body?: unknown, key?: string): Promise<Response> {
    const headers: Record<string, string> = { Authorization: `Bearer ${this.session.token}` };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (key !== undefined) headers["Idempotency-Key"] = key;
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const init = { method, headers, signal, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
    let response: Response;
    try {
      response = await fetch(path, init);
    } catch (error) {
      throw unanswered(error);
    }
    if (response.ok) return response;
    const problem = await problemOf(response, path);
    if (problem.code === "invalid_token") this.refused(problem);
    throw problem;
  }
}

function unanswered(error: unknown): Problem {
  if (error instanceof DOMException && error.name === "TimeoutError") {
    const detail = `The service has not answered within ${DEADLINE_MS / 1000} s.`;
    return new Problem(0, "timeout", "No answer", detail, ADVICE["timeout"]!, null);
  }
  const detail = "The request did not reach the service, or its answer did not arrive.";
  const advice = "Check your connection, and that the service runs. If it was an action, look whether it had an effect before you repeat it.";
  return new Problem(0, "unreachable", "Service not reached", detail, advice, null);
}

async function problemOf(response: Response, path: string): Promise<Problem> {
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
  const advice = ADVICE[code] ?? "If it is not clear why, look for the request's id in the log.";
  return new Problem(response.status, code, title, detail, advice, id);
}

/** Return what went wrong, whatever was thrown. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new Problem(0, "console", "Error in the console", detail, "Reload the page, and report it.", null);
}

/** Return a new Idempotency-Key. `crypto.randomUUID` needs https, this does not. */
export function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
}
