// The client: a method for every route that a wallet signs for.

import { GuardClient } from "./guards.js";
import type { Amount, CodeOption, Fields, SignersOption } from "./signing.js";
import type * as t from "./types.js";

/**
 * A client of the service for one wallet. Without a wallet it can only read.
 *
 * Every method throws Problem if the service refuses the request, and ServiceUnavailable if there is
 * no reply within `patience`. Until then requests are repeated, including those that move tokens:
 * each has an Idempotency-Key, and takes effect once.
 */
export class Client extends GuardClient {
  // --- the vault ---------------------------------------------------------------------------------

  /** Open the wallet's vault. */
  async openVault(): Promise<t.CoSign> {
    return await this.send("/api/vault/initialize", { owner: this.address });
  }

  /** Move tokens from the wallet into its vault. */
  async deposit(amount: Amount): Promise<t.CoSign> {
    return await this.act("/api/vault/deposit", "deposit", { amount });
  }

  /** Move tokens out of the vault, to the owner or a whitelisted recipient. */
  async withdraw(
    amount: Amount,
    { recipient, code }: CodeOption & { readonly recipient?: string | undefined } = {},
  ): Promise<t.Outcome> {
    const fields = recipient === undefined ? { amount } : { amount, recipient };
    return await this.act("/api/vault/withdraw", "withdraw", fields, { code });
  }

  /** Request a withdrawal, which is possible after the vault's minimum delay. */
  async requestWithdraw(amount: Amount, options: CodeOption = {}): Promise<t.CoSign> {
    return await this.act("/api/vault/request-withdraw", "request_withdraw", { amount }, options);
  }

  /** Timelock tokens, so that nobody can withdraw them before the duration is over. */
  async scheduleWithdraw(
    amount: Amount,
    durationSeconds: bigint | number,
    options: CodeOption = {},
  ): Promise<t.Outcome> {
    const fields = { amount, duration_seconds: durationSeconds };
    return await this.act("/api/vault/schedule-withdraw", "schedule", fields, options);
  }

  /** Release matured timelocks. Anybody may do so for any owner. */
  async releaseTimelocks(owner?: string): Promise<t.Submitted> {
    return await this.send("/api/vault/release-timelocks", { owner: owner ?? this.address });
  }

  /** Close the wallet's empty vault. Its rent goes to the owner. */
  async closeVault(options: SignersOption = {}): Promise<t.CoSign> {
    return await this.act("/api/vault/close", "close_vault", {}, options);
  }

  /** Let another key act for the vault. Tokens still go to the owner only. */
  async addDelegate(delegate: string): Promise<t.CoSign> {
    return await this.act("/api/vault/delegate/add", "delegate_add", { delegate });
  }

  /** Remove a delegate. */
  async removeDelegate(delegate: string): Promise<t.CoSign> {
    return await this.act("/api/vault/delegate/remove", "delegate_remove", { delegate });
  }

  /** Open a position and lock its collateral. */
  async lock(amount: Amount): Promise<t.CoSign> {
    return await this.act("/api/pm/lock", "pm_lock", { amount });
  }

  /** Close a position, or a part of one. */
  async unlock(amount: Amount): Promise<t.CoSign> {
    return await this.act("/api/pm/unlock", "pm_unlock", { amount });
  }

  // --- yield -------------------------------------------------------------------------------------

  /** Deposit tokens of the vault into a yield program. */
  async yieldDeposit(amount: Amount, yieldProgram: string): Promise<t.Outcome> {
    const fields = { amount, yield_program: yieldProgram };
    return await this.act("/api/vault/yield-deposit", "yield_deposit", fields);
  }

  /** Withdraw tokens from a yield program into the vault. */
  async yieldWithdraw(amount: Amount, yieldProgram: string): Promise<t.Outcome> {
    const fields = { amount, yield_program: yieldProgram };
    return await this.act("/api/vault/yield-withdraw", "yield_withdraw", fields);
  }

  /** Deposit the interest into the yield program, too. */
  async compound(amount: Amount, yieldProgram: string): Promise<t.Outcome> {
    const fields = { compounded_amount: amount, yield_program: yieldProgram };
    return await this.act("/api/vault/compound", "compound_yield", fields);
  }

  /** Set whether the service, as a delegate, compounds automatically from `minAmount` on. */
  async setYieldPolicy(
    yieldProgram: string,
    options: { readonly autoCompound: boolean; readonly minAmount: Amount },
  ): Promise<t.YieldPolicy> {
    const body = await this.signed("yield_policy", {
      owner: this.address,
      yield_program: yieldProgram,
      auto_compound: options.autoCompound,
      min_amount: options.minAmount,
    });
    return await this.sendOnce("/api/vault/yield-policy", body);
  }

  // --- protection against a stolen key -------------------------------------------------------------

  /** Allow withdrawals to another wallet. */
  async whitelistAdd(address: string, options: SignersOption = {}): Promise<t.CoSign> {
    const path = "/api/admin/withdraw/whitelist/add";
    return await this.act(path, "whitelist_add", { address }, options);
  }

  /** Disallow withdrawals to another wallet. */
  async whitelistRemove(address: string): Promise<t.CoSign> {
    return await this.act("/api/admin/withdraw/whitelist/remove", "whitelist_remove", { address });
  }

  /** Set the minimum delay of withdrawals. 0 removes it. */
  async setMinDelay(seconds: bigint | number, options: SignersOption = {}): Promise<t.CoSign> {
    return await this.act("/api/admin/withdraw/min-delay/set", "min_delay_set", { seconds }, options);
  }

  /** Limit the amount withdrawn within a time window. Zeros remove the limit. */
  async setRateLimit(
    windowSeconds: bigint | number,
    maxAmount: Amount,
    options: SignersOption = {},
  ): Promise<t.CoSign> {
    const fields = { window_seconds: windowSeconds, max_amount: maxAmount };
    return await this.act("/api/admin/withdraw/rate-limit/set", "rate_limit_set", fields, options);
  }

  /** Return a new secret for a device. It takes effect with `verifySecondFactor`. */
  async setUpSecondFactor(): Promise<t.SecondFactor> {
    const body = await this.signed("twofa_setup", { owner: this.address });
    return await this.sendOnce("/api/2fa/setup", body);
  }

  /** Enable the second factor with a first code. From then on withdrawals need one. */
  async verifySecondFactor(code: string): Promise<t.SecondFactorStatus> {
    return await this.sendOnce("/api/2fa/verify", { owner: this.address, code });
  }

  /** Disable the second factor. */
  async disableSecondFactor(code: string): Promise<t.SecondFactorStatus> {
    const body = await this.signed("twofa_disable", { owner: this.address });
    return await this.sendOnce("/api/2fa/disable", body, { code });
  }

  // --- multisig withdrawals ------------------------------------------------------------------------

  /**
   * Propose a withdrawal to the signers of the vault's multisig.
   *
   * `threshold` is the number of required signatures. Throws Problem unless it is that of the chain.
   */
  async proposeWithdraw(
    amount: Amount,
    { threshold }: { readonly threshold: bigint | number },
  ): Promise<t.Proposal> {
    const fields = { owner: this.address, amount, threshold };
    const body = await this.signed("propose_withdraw", fields);
    return await this.send("/api/vault/propose-withdraw", body);
  }

  /**
   * Approve a proposal as one of its signers.
   *
   * Once enough signers have approved, it has a `transaction` for them to sign.
   */
  async approveWithdraw(proposalId: string): Promise<t.Proposal> {
    const body = await this.signed("approve_withdraw", { proposal_id: proposalId });
    return await this.send("/api/vault/approve-withdraw", { ...body, signer: this.address });
  }

  /** Set the webhook that receives the proposals for this signer. */
  async setSignerContact(url: string): Promise<t.SignerContact> {
    const body = await this.signed("signer_contact", { signer: this.address, url });
    return await this.sendOnce("/api/vault/signer-contact", body);
  }

  // --- webhooks for the vault's events -------------------------------------------------------------

  /** Register a webhook for events of these topics, by default of all. */
  async registerWebhook(
    url: string,
    { topics }: { readonly topics?: readonly string[] | undefined } = {},
  ): Promise<t.WebhookSecret> {
    const owner = this.address;
    const body =
      topics === undefined
        ? await this.signed("webhook_register", { owner, url }, { owner, topics: "all", url })
        : await this.signed("webhook_register", { owner, topics, url });
    return await this.sendOnce("/api/webhooks", body);
  }

  /** Return the owner's webhooks for events. */
  async webhooks(): Promise<t.WebhookList> {
    const body = await this.signed("webhook_list", { owner: this.address });
    return await this.sendOnce("/api/webhooks/list", body);
  }

  /** Return a page of a webhook's messages of the last day, newest first. */
  async webhookMessages(
    endpoint: string,
    options: { readonly cursor?: string | undefined; readonly limit?: bigint | number } = {},
  ): Promise<t.WebhookMessages> {
    const { cursor, limit = 50 } = options;
    const fields = { owner: this.address, endpoint, ...(cursor === undefined ? {} : { cursor }), limit };
    const shown = { owner: this.address, endpoint, cursor: cursor ?? "", limit };
    const body = await this.signed("webhook_messages", fields, shown);
    return await this.sendOnce("/api/webhooks/messages", body);
  }

  /** Send a message again, without regard to the order of events. */
  async resendWebhookMessage(endpoint: string, webhookId: string): Promise<t.QueuedMessage> {
    return await this.#webhook("resend", { endpoint, webhook_id: webhookId });
  }

  /** Send a test message. */
  async testWebhook(endpoint: string): Promise<t.QueuedMessage> {
    return await this.#webhook("test", { endpoint });
  }

  /** Return a new secret. The old one signs, too, until the overlap is over. */
  async rotateWebhookSecret(
    endpoint: string,
    { overlapSeconds = 86_400 }: { readonly overlapSeconds?: bigint | number } = {},
  ): Promise<t.WebhookSecret> {
    return await this.#webhook("rotate", { endpoint, overlap_seconds: overlapSeconds });
  }

  /** Enable a webhook that is paused or deactivated. It gets what it has missed. */
  async activateWebhook(endpoint: string): Promise<t.Webhook> {
    return await this.#webhook("activate", { endpoint });
  }

  /** Disable a webhook until it is activated. */
  async deactivateWebhook(endpoint: string): Promise<t.Webhook> {
    return await this.#webhook("deactivate", { endpoint });
  }

  /** Remove a webhook, its secrets and its messages. */
  async deleteWebhook(endpoint: string): Promise<t.Webhook> {
    return await this.#webhook("delete", { endpoint });
  }

  async #webhook<T>(action: string, fields: Fields): Promise<T> {
    const body = await this.signed(`webhook_${action}`, { owner: this.address, ...fields });
    return await this.sendOnce(`/api/webhooks/${action}`, body);
  }
}
