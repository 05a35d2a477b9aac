// Routes that need no signature, as typed methods.

import type { Topic } from "./cursors.js";
import { ClientError } from "./errors.js";
import { type Method, PATIENCE_SECONDS, type RequestOptions, RetryingHttp } from "./http.js";
import { Stream } from "./stream.js";
import type * as t from "./types.js";
import type { Wallet } from "./wallet.js";

const MAX_PAGE = 100;
const MAX_STATEMENT_PAGE = 1000;

export interface ClientOptions {
  readonly wallet?: Wallet | undefined;
  /** Seconds within which each call returns or throws. */
  readonly patience?: number;
  readonly fetch?: typeof globalThis.fetch;
}

export interface HistoryOptions {
  readonly kind?: string;
  readonly limit?: number;
  readonly cursor?: bigint | string | null;
}

export interface StatementOptions {
  /** Belongs to the statement: a slot, or a time. */
  readonly since?: bigint | Date;
  /** Does not belong to it. */
  readonly until?: bigint | Date;
  readonly limit?: number;
}

/**
 * The client's methods that only read. `owner` is by default the wallet's address.
 *
 * Replies are never older than what the client has read, received, or seen landing before.
 */
export class QueryClient {
  protected readonly http: RetryingHttp;
  readonly #url: string;
  readonly #wallet: Wallet | undefined;

  constructor(url: string, { wallet, patience, fetch }: ClientOptions = {}) {
    if (!/^https?:\/\//.test(url)) {
      throw new ClientError(`${url} is not the URL of a service: http://… or https://…`);
    }
    this.#url = url.replace(/\/+$/, "");
    this.#wallet = wallet;
    this.http = new RetryingHttp(
      this.#url,
      patience ?? PATIENCE_SECONDS,
      fetch ?? ((input, init) => globalThis.fetch(input, init)),
    );
  }

  /** The client's wallet. Throws ClientError if it was opened without one. */
  get wallet(): Wallet {
    if (this.#wallet === undefined) {
      throw new ClientError("this needs a wallet: new Client(url, { wallet })");
    }
    return this.#wallet;
  }

  /** The wallet's public key. */
  get address(): string {
    return this.wallet.address;
  }

  /** Return a stream of these topics, which survives lost connections. */
  stream(...topics: Topic[]): Stream {
    const url = `${this.#url.replace(/^http/, "ws")}/ws`;
    return new Stream(url, topics, (slot) => this.http.noteSlot(slot));
  }

  /** Call any route, for those without a method. Only GET is repeated. */
  async request(method: Method, path: string, options: RequestOptions = {}): Promise<unknown> {
    return await this.http.send(method, path, { repeatable: method === "GET", ...options });
  }

  /** Return a vault's balances, now or as of `slot`. */
  async balance(owner?: string, options: { readonly slot?: bigint } = {}): Promise<t.Balance> {
    return await this.#ofOwner<t.Balance>("/api/vault/balance/", owner, { ...options });
  }

  /** Return the whole state of a vault. */
  async vault(owner?: string): Promise<t.VaultState> {
    return await this.#ofOwner<t.VaultState>("/api/vault/", owner);
  }

  /** Return who may act for a vault, and its limits. */
  async config(owner?: string): Promise<t.VaultConfig> {
    return await this.#ofOwner<t.VaultConfig>("/api/vault/config/", owner);
  }

  /** Return the programs, mint, operator, chain and limits of the service. */
  async deployment(): Promise<t.Deployment> {
    return (await this.http.send("GET", "/api/config")) as t.Deployment;
  }

  /** Return an owner's policies for automatic compounding. */
  async yieldPolicies(owner?: string): Promise<t.YieldPolicies> {
    return await this.#ofOwner<t.YieldPolicies>("/api/vault/yield-policy/", owner);
  }

  /** Return a vault's timelocks. */
  async timelocks(owner?: string): Promise<t.VaultTimelocks> {
    return await this.#ofOwner<t.VaultTimelocks>("/api/vault/timelocks/", owner);
  }

  /** Return the limits of a vault's withdrawals. */
  async limits(owner?: string): Promise<t.VaultLimits> {
    return await this.#ofOwner<t.VaultLimits>("/api/vault/limits/", owner);
  }

  /** Return the requested changes of a vault's guards. */
  async guardChanges(owner?: string): Promise<t.GuardChanges> {
    return await this.#ofOwner<t.GuardChanges>("/api/vault/guard-changes/", owner);
  }

  /** Return a vault's yield positions and the protocols' rates. */
  async yieldStatus(owner?: string): Promise<t.YieldStatus> {
    return await this.#ofOwner<t.YieldStatus>("/api/vault/yield-status/", owner);
  }

  /** Return a page of a vault's history, newest first. */
  async history(owner?: string, options: HistoryOptions = {}): Promise<t.History> {
    const query = { limit: 50, ...options };
    return await this.#ofOwner<t.History>("/api/vault/transactions/", owner, query);
  }

  /** Return the newest movements of a vault, over all pages. */
  async movements(
    owner?: string,
    { kind, atMost = 1000 }: { readonly kind?: string; readonly atMost?: number } = {},
  ): Promise<t.Movement[]> {
    const newest: t.Movement[] = [];
    let cursor: bigint | string | null | undefined;
    do {
      const limit = Math.min(MAX_PAGE, atMost - newest.length);
      const page = await this.history(owner, {
        limit,
        ...(kind === undefined ? {} : { kind }),
        ...(cursor === undefined ? {} : { cursor }),
      });
      newest.push(...page.transactions);
      cursor = page.next_cursor;
    } while (cursor != null && newest.length < atMost);
    return newest;
  }

  /** Return the first page of a vault's statement, which is a statement by itself. */
  async statement(owner?: string, options: StatementOptions = {}): Promise<t.Statement> {
    const { since, until, limit = 100 } = options;
    const query = { from: moment(since), to: moment(until), limit };
    return await this.#ofOwner<t.Statement>("/api/vault/statement/", owner, query);
  }

  /** Yield all pages of a vault's statement, each of which opens as the one before closes. */
  async *statements(owner?: string, options: StatementOptions = {}): AsyncGenerator<t.Statement> {
    const { limit = MAX_STATEMENT_PAGE } = options;
    let page = await this.statement(owner, { ...options, limit });
    yield page;
    while (page.next_from != null) {
      page = await this.statement(owner, { ...options, limit, since: BigInt(page.next_from) });
      yield page;
    }
  }

  /** Return a page of open vaults. A cursor is valid for its `sort` only. */
  async vaults(
    options: {
      readonly sort?: "owner" | "balance_desc" | "balance_asc" | "slot";
      readonly minBalance?: bigint;
      readonly limit?: number;
      readonly cursor?: string | null;
    } = {},
  ): Promise<t.VaultList> {
    const { sort = "owner", minBalance = 0n, limit = 50, cursor } = options;
    const query = { sort, min_balance: minBalance, limit, cursor };
    return (await this.http.send("GET", "/api/vaults", { query })) as t.VaultList;
  }

  /** Return the total value locked in all vaults. */
  async tvl(): Promise<t.Tvl> {
    return (await this.http.send("GET", "/api/vault/tvl")) as t.Tvl;
  }

  /** Return the state of a transaction that the service built. */
  async transaction(signature: string): Promise<t.TransactionState> {
    const path = `/api/transactions/${encodeURIComponent(signature)}`;
    const state = (await this.http.send("GET", path)) as t.TransactionState;
    const landed = state.status === "confirmed" || state.status === "finalized";
    if (landed && state.slot != null) this.http.noteSlot(BigInt(state.slot));
    return state;
  }

  /** Return the state of a multisig withdrawal. */
  async proposal(proposalId: string): Promise<t.Proposal> {
    const path = `/api/vault/proposal/${encodeURIComponent(proposalId)}`;
    return (await this.http.send("GET", path)) as t.Proposal;
  }

  /** Return whether an owner's withdrawals need a code. */
  async secondFactor(owner?: string): Promise<t.SecondFactorStatus> {
    return await this.#ofOwner<t.SecondFactorStatus>("/api/2fa/status/", owner);
  }

  async #ofOwner<T>(path: string, owner?: string, query: RequestOptions["query"] = {}): Promise<T> {
    const whose = encodeURIComponent(owner ?? this.address);
    return (await this.http.send("GET", path + whose, { query })) as T;
  }
}

function moment(at: bigint | Date | undefined): string | undefined {
  return at instanceof Date ? at.toISOString() : at?.toString();
}
