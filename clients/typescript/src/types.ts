// Replies of the service, named by the paths of its OpenAPI document. Integers are bigint.

import type { paths } from "./openapi.js";

type Json<R> = R extends { content: { "application/json": infer T } } ? T : never;
type Success<R> = { [S in keyof R & (200 | 201 | 202)]: Json<R[S]> }[keyof R & (200 | 201 | 202)];

/** What a route answers if it succeeds. */
export type Reply<P extends keyof paths, M extends keyof paths[P]> = paths[P][M] extends {
  responses: infer R;
}
  ? Success<R>
  : never;

export type Nonce = Reply<"/api/auth/nonce", "post">;
export type Balance = Reply<"/api/vault/balance/{owner}", "get">;
export type VaultState = Reply<"/api/vault/{owner}", "get">;
export type VaultConfig = Reply<"/api/vault/config/{owner}", "get">;
export type VaultTimelocks = Reply<"/api/vault/timelocks/{owner}", "get">;
export type VaultLimits = Reply<"/api/vault/limits/{owner}", "get">;
export type GuardChanges = Reply<"/api/vault/guard-changes/{owner}", "get">;
export type VaultList = Reply<"/api/vaults", "get">;
export type YieldPolicies = Reply<"/api/vault/yield-policy/{owner}", "get">;
export type YieldPolicy = Reply<"/api/vault/yield-policy", "post">;
export type YieldStatus = Reply<"/api/vault/yield-status/{owner}", "get">;
export type History = Reply<"/api/vault/transactions/{owner}", "get">;
export type Movement = History["transactions"][number];
export type Statement = Reply<"/api/vault/statement/{owner}", "get">;
export type StatementLine = Statement["lines"][number];
export type Deployment = Reply<"/api/config", "get">;
export type Tvl = Reply<"/api/vault/tvl", "get">;
export type TransactionState = Reply<"/api/transactions/{signature}", "get">;
export type Accepted = Reply<"/api/transactions", "post">;
export type Proposal = Reply<"/api/vault/proposal/{proposal_id}", "get">;
export type SecondFactor = Reply<"/api/2fa/setup", "post">;
export type SecondFactorStatus = Reply<"/api/2fa/status/{owner}", "get">;
export type SignerContact = Reply<"/api/vault/signer-contact", "post">;
export type WebhookSecret = Reply<"/api/webhooks", "post">;
export type WebhookList = Reply<"/api/webhooks/list", "post">;
export type WebhookMessages = Reply<"/api/webhooks/messages", "post">;
export type QueuedMessage = Reply<"/api/webhooks/test", "post">;
export type Webhook = Reply<"/api/webhooks/activate", "post">;

/** A transaction for the wallet to sign. `finish` signs and submits it. No effect before that. */
export type CoSign = Reply<"/api/vault/deposit", "post">;
/** A transaction that the service has signed and submits. */
export type Submitted = Reply<"/api/vault/release-timelocks", "post">;
export type Outcome = CoSign | Submitted;
