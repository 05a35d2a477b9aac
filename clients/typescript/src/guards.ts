// Requests about an owner's guards, the exit, and what the owner takes back.

import { SigningClient, type Amount, type CodeOption, type SignersOption } from "./signing.js";
import type * as t from "./types.js";

const CHANGES = "/api/vault/guard-changes";

/**
 * A client for what protects a vault from a stolen key.
 *
 * With `signers`, each of these wallets signs the transaction with `cosign`; `submit` takes the
 * result.
 */
export class GuardClient extends SigningClient {
  /** Request a change that loosens a guard, such as `min_delay=0`. */
  async requestGuardChange(change: string): Promise<t.CoSign> {
    return await this.act(`${CHANGES}/request`, "guard_request", { change });
  }

  /** Apply a requested change whose delay is over. */
  async applyGuardChange(change: string): Promise<t.CoSign> {
    return await this.act(`${CHANGES}/apply`, "guard_apply", { change });
  }

  /** Cancel a requested change, as the owner or as a signer of the owner's multisig. */
  async cancelGuardChange(
    change: string,
    { owner }: { readonly owner?: string | undefined } = {},
  ): Promise<t.CoSign> {
    const body = await this.signed("guard_cancel", { owner: owner ?? this.address, change });
    return await this.send(`${CHANGES}/cancel`, { ...body, signer: this.address });
  }

  /** Set how much may be transferred beyond what is locked: digits, or `unlimited`. */
  async setTransferAllowance(allowance: string, options: SignersOption = {}): Promise<t.CoSign> {
    const path = "/api/vault/transfer-allowance/set";
    return await this.act(path, "transfer_allowance_set", { allowance }, options);
  }

  /** Cancel the requested withdrawal of this amount and time. */
  async cancelWithdrawRequest(amount: Amount, executableAt: bigint | number): Promise<t.CoSign> {
    const fields = { amount, executable_at: executableAt };
    const path = "/api/vault/request-withdraw/cancel";
    return await this.act(path, "request_withdraw_cancel", fields);
  }

  /** Cancel the timelock of this amount and time, or bring its end forward. */
  async cancelTimelock(
    amount: Amount,
    unlockTime: bigint | number,
    options: CodeOption & SignersOption = {},
  ): Promise<t.CoSign> {
    const fields = { amount, unlock_time: unlockTime };
    return await this.act("/api/vault/timelock/cancel", "timelock_cancel", fields, options);
  }

  /** Request an exit, which takes effect after seven days and for seven days. */
  async requestExit(options: CodeOption & SignersOption = {}): Promise<t.CoSign> {
    return await this.act("/api/vault/exit/request", "exit_request", {}, options);
  }

  /** Release locked tokens that no position claims, while an exit is in effect. */
  async releaseUnclaimed(): Promise<t.CoSign> {
    return await this.act("/api/vault/exit/release", "exit_release", {});
  }

  /** Withdraw available tokens to the owner without the consent of any program. */
  async exitWithdraw(
    amount: Amount,
    options: CodeOption & SignersOption = {},
  ): Promise<t.CoSign> {
    return await this.act("/api/vault/exit/withdraw", "exit_withdraw", { amount }, options);
  }

  /** Pay to the owner what a token account of the vault holds beyond the balances. */
  async sweep(
    tokenAccount: string,
    options: CodeOption & SignersOption = {},
  ): Promise<t.CoSign> {
    const fields = { token_account: tokenAccount };
    return await this.act("/api/vault/sweep", "sweep", fields, options);
  }

  /** Let positions claim no more than is locked. Anybody may do so for any owner. */
  async settlePositions(owner?: string): Promise<t.Submitted> {
    return await this.send("/api/pm/settle", { owner: owner ?? this.address });
  }
}
