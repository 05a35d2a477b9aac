// Errors of the client, one class for each outcome.

import { isObject } from "./json.js";

/** Base class. By itself: the client has no wallet, or cannot decode a reply. */
export class ClientError extends Error {
  override get name(): string {
    return this.constructor.name;
  }
}

/**
 * No conclusive reply within the client's `patience`. `cause` is the last failure.
 *
 * It is unknown whether the request took effect.
 */
export class ServiceUnavailable extends ClientError {}

/**
 * The service refuses the request with an RFC 9457 problem, identified by a stable `code`.
 *
 * The request had no effect, but may have used its nonce.
 */
export class Problem extends ClientError {
  readonly code: string;
  readonly detail: string;

  constructor(
    readonly status: number,
    readonly body: Readonly<Record<string, unknown>>,
    /** Seconds. */
    readonly retryAfter = 0,
  ) {
    const code = String(body["code"] ?? "unknown");
    const detail = String(body["detail"] ?? "");
    super(`${status} ${code}: ${detail}`);
    this.code = code;
    this.detail = detail;
  }

  /** The vault program's name of the error, if `code` is `program_error`. */
  get programError(): string | undefined {
    const error = this.body["program_error"];
    return isObject(error) && error["name"] != null ? String(error["name"]) : undefined;
  }
}

/**
 * A transaction ended as `failed` or `expired`, without effect, or as `quarantined`.
 *
 * It is unknown whether a quarantined transaction took effect.
 */
export class TransactionFailed extends ClientError {
  constructor(
    readonly signature: string,
    readonly status: string,
    readonly error: unknown,
  ) {
    super(`transaction ${signature} is ${status}: ${String(error)}`);
  }
}

/** The service asks the wallet to sign another text than the request's. Nothing is signed. */
export class UnexpectedText extends ClientError {
  constructor(
    readonly text: string | null,
    readonly expected: string,
  ) {
    super(`the service asks for a signature of ${text} instead of ${expected}`);
  }
}

/** A transaction waits for the signatures of the `missing` signers. */
export class SignaturesMissing extends ClientError {
  constructor(readonly missing: readonly string[]) {
    super(`other signers have to sign, too: ${missing.join(", ")}`);
  }
}

/** The service refuses or ends this client's subscription to `topic`. */
export class SubscriptionRefused extends ClientError {
  constructor(
    readonly topic: string | undefined,
    readonly code: string,
    readonly detail: string,
  ) {
    super(`${topic ?? "a subscription"}: ${code}: ${detail}`);
  }
}
