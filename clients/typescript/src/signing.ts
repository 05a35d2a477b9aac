// Requests that the wallet signs, and the submission of their transactions.

import { base64urlnopad } from "@scure/base";
import { SignaturesMissing, TransactionFailed, UnexpectedText } from "./errors.js";
import { sleep } from "./http.js";
import { QueryClient } from "./queries.js";
import type * as t from "./types.js";

const POLL_SECONDS = 0.25;
const FAILED_STATES = new Set(["failed", "expired", "quarantined"]);
// Fields that may name the wallet, for which the nonce is issued.
const SIGNERS = new Set(["owner", "signer"]);

/** In the token's smallest unit. */
export type Amount = bigint | string;
type Field = bigint | string | boolean | number | readonly string[];
export type Fields = Readonly<Record<string, Field>>;

export interface CodeOption {
  /** That of the second factor. */
  readonly code?: string | undefined;
}

export interface SignersOption {
  /** Signers of the vault's multisig, who will sign the transaction, too. */
  readonly signers?: readonly string[] | undefined;
}

/** A client that signs requests and transactions. */
export class SigningClient extends QueryClient {
  /** Submit a transaction (base64) that the service built and the wallet has signed. */
  async submit(transaction: string): Promise<t.Accepted> {
    const body = { transaction };
    return (await this.http.send("POST", "/api/transactions", { body })) as t.Accepted;
  }

  /**
   * Sign the transaction if necessary, submit it, and wait until it is confirmed.
   *
   * Throws TransactionFailed if it fails, and SignaturesMissing if others must sign, too.
   */
  async finish(outcome: t.Outcome): Promise<t.TransactionState> {
    if (!("transaction" in outcome)) return await this.settled(outcome.signature);
    const accepted = await this.submit(await this.wallet.cosign(outcome.transaction));
    if (accepted.signature == null) throw new SignaturesMissing(accepted.missing ?? []);
    return await this.settled(accepted.signature);
  }

  /**
   * Wait until a transaction is confirmed or finalized. Throws TransactionFailed.
   *
   * Every transaction reaches a terminal state, but the wait has no deadline of its own.
   */
  async settled(
    signature: string,
    { finalized = false }: { readonly finalized?: boolean } = {},
  ): Promise<t.TransactionState> {
    const enough = new Set(finalized ? ["finalized"] : ["confirmed", "finalized"]);
    for (;;) {
      const state = await this.transaction(signature);
      if (enough.has(state.status)) return state;
      if (FAILED_STATES.has(state.status)) {
        throw new TransactionFailed(signature, state.status, state.error);
      }
      await sleep(POLL_SECONDS);
    }
  }

  /** Return a new nonce for the wallet, and the text to sign if there is an action. */
  async nonce(action?: string, fields: Fields = {}): Promise<t.Nonce> {
    const body = { owner: this.address, ...(action === undefined ? {} : { action, fields }) };
    return (await this.http.send("POST", "/api/auth/nonce", { body })) as t.Nonce;
  }

  /**
   * Return a request's body: the fields, a new nonce, and the signature of both.
   *
   * `shown` are the fields as the text has them, if it says something for absent ones. Signs the
   * service's text, which must say what the fields do. Throws UnexpectedText.
   */
  async signed(action: string, fields: Fields, shown = fields): Promise<Record<string, unknown>> {
    const wallet = this.address;
    const asked = Object.entries(fields).filter(
      ([name, value]) => !SIGNERS.has(name) || value !== wallet,
    );
    const { nonce, message } = await this.nonce(action, Object.fromEntries(asked));
    const expected = [action, ...Object.values(shown), nonce].map(asSigned).join(":");
    if (message !== expected) throw new UnexpectedText(message ?? null, expected);
    return { ...fields, nonce, ...(await this.wallet.signText(expected)) };
  }

  protected async act<T extends t.Outcome>(
    path: string,
    action: string,
    fields: Fields,
    { code, signers }: CodeOption & SignersOption = {},
  ): Promise<T> {
    const body = await this.signed(action, { owner: this.address, ...fields });
    return await this.send(path, signers === undefined ? body : { ...body, signers }, { code });
  }

  protected async send<T>(path: string, body: unknown, { code }: CodeOption = {}): Promise<T> {
    const key = base64urlnopad.encode(crypto.getRandomValues(new Uint8Array(18)));
    const headers = { "Idempotency-Key": key, ...codeHeader(code) };
    return (await this.http.send("POST", path, { body, headers })) as T;
  }

  /** Send a request that must not be repeated, since it has no Idempotency-Key. */
  protected async sendOnce<T>(path: string, body: unknown, { code }: CodeOption = {}): Promise<T> {
    const options = { body, headers: codeHeader(code), repeatable: false };
    return (await this.http.send("POST", path, options)) as T;
  }
}

function codeHeader(code: string | undefined): Record<string, string> {
  return code === undefined ? {} : { "X-2FA-CODE": code };
}

/** Return a field's text in the message that the wallet signs. */
function asSigned(field: Field): string {
  return typeof field === "boolean" ? (field ? "on" : "off") : String(field);
}
