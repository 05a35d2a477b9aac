/** What the checks ask of a Solana node, by JSON-RPC. Everything is read at the commitment `finalized`. */
import { base58 } from "../values/addresses.js";
import { joined, textOf } from "../values/bytes.js";
import { read, Unavailable } from "./fetched.js";

const LARGEST_ANSWER = 2 ** 28;
const CLOCK = "SysvarC1ock11111111111111111111111111111111";
const CLOCK_TIME_AT = 32;
const ACCOUNTS_IN_A_CALL = 100;
const TOKEN_ACCOUNT = { offset: 0, length: 72 };
const TOKEN_ACCOUNT_AMOUNT_AT = 64;
const SIGNATURES_IN_A_CALL = 1_000;
const MOST_CALLS_FOR_AN_ACCOUNT = 200;
// Block not available, slot skipped, or one of both in long-term storage.
const NO_BLOCK = new Set([-32001, -32004, -32007, -32009]);

// The account of a vault, by the vault program's IDL (GET /api/idl/collateral_vault).
const VAULT_DISCRIMINATOR = Uint8Array.of(19, 189, 95, 155, 100, 9, 159, 145);
const VAULT_MINT_AT = 72;
const VAULT = { offset: 8, length: 104 };
const VAULT_TOTAL_AT = 96;

export interface Block {
  blockhash: string;
  /** In seconds since 1970. */
  blockTime: number | null;
}

export interface TokenAccount {
  mint: string;
  amount: bigint;
}

export interface Vault {
  address: string;
  owner: string;
  total: bigint;
}

interface Mention {
  signature: string;
  slot: number;
  err: unknown;
}

interface Shown {
  pubkey: string;
  account: { data: [string, string] };
}

interface TokenBalance {
  accountIndex: number;
  uiTokenAmount: { amount: string };
}

interface Transaction {
  transaction: { message: { accountKeys: string[] } };
  meta: {
    postTokenBalances?: TokenBalance[] | null;
    loadedAddresses?: { writable: string[]; readonly: string[] };
    logMessages?: string[] | null;
  } | null;
}

class Refusal extends Unavailable {
  constructor(message: string, readonly code: number) {
    super(message);
  }
}

export class Node {
  constructor(private readonly url: string) {}

  async genesis(): Promise<string> {
    return await this.call("getGenesisHash");
  }

  /** Return the block of a slot, or null if the chain has none there. Throws Unavailable if the node cannot know. */
  async block(slot: bigint): Promise<Block | null> {
    const found = await this.blockIfKept(slot);
    if (found !== null) return found;
    const [first, newest] = [await this.firstBlock(), await this.call<number>("getSlot", { commitment: "finalized" })];
    if (slot >= first && slot <= newest) return null;
    throw new Unavailable(`the node has blocks ${first} to ${newest}, so not that of slot ${slot}`);
  }

  async firstBlock(): Promise<number> {
    return await this.call("getFirstAvailableBlock");
  }

  /** Return the chain's clock, in seconds since 1970. */
  async clock(): Promise<bigint> {
    const options = { encoding: "base64", commitment: "finalized" };
    const { value } = await this.call<{ value: Shown["account"] | null }>("getAccountInfo", CLOCK, options);
    if (value === null) throw new Unavailable("the node has no clock");
    return viewOf(value.data).getBigInt64(CLOCK_TIME_AT, true);
  }

  /** Return what token accounts hold now, by their addresses. Those that do not exist are missing. */
  async tokenAccounts(addresses: string[]): Promise<Map<string, TokenAccount>> {
    const found = new Map<string, TokenAccount>();
    const options = { encoding: "base64", commitment: "finalized", dataSlice: TOKEN_ACCOUNT };
    for (let from = 0; from < addresses.length; from += ACCOUNTS_IN_A_CALL) {
      const part = addresses.slice(from, from + ACCOUNTS_IN_A_CALL);
      const { value } = await this.call<{ value: (Shown["account"] | null)[] }>("getMultipleAccounts", part, options);
      for (const [place, address] of part.entries()) {
        const data = value[place] && viewOf(value[place].data);
        if (data?.byteLength !== TOKEN_ACCOUNT.length) continue;
        found.set(address, { mint: addressIn(data, 0), amount: data.getBigUint64(TOKEN_ACCOUNT_AMOUNT_AT, true) });
      }
    }
    return found;
  }

  /** Return whether transactions name the address after a slot, and the last that does up to it. */
  async mentions(address: string, slot: bigint): Promise<{ isLater: boolean; last: string | null }> {
    let [before, isLater]: [string | undefined, boolean] = [undefined, false];
    for (let calls = 0; calls < MOST_CALLS_FOR_AN_ACCOUNT; calls += 1) {
      const found: Mention[] = await this.mentioning(address, before);
      const last = found.find((each) => each.slot <= slot);
      isLater ||= found[0] !== undefined && found[0] !== last;
      if (last !== undefined || found.length < SIGNATURES_IN_A_CALL) return { isLater, last: last?.signature ?? null };
      before = found.at(-1)!.signature;
    }
    throw new Unavailable(`more than ${MOST_CALLS_FOR_AN_ACCOUNT * SIGNATURES_IN_A_CALL} transactions of ${address} came later`);
  }

  /** Return the transactions on a vault after a slot that have not failed, oldest first, or null if none names it before: it was opened later. */
  async laterOn(vault: string, slot: bigint): Promise<string[] | null> {
    const later: string[] = [];
    let before: string | undefined;
    for (let calls = 0; calls < MOST_CALLS_FOR_AN_ACCOUNT; calls += 1) {
      const found = await this.mentioning(vault, before);
      for (const each of found) {
        if (each.slot <= slot) return later.reverse();
        if (each.err === null) later.push(each.signature);
      }
      if (found.length < SIGNATURES_IN_A_CALL) {
        if ((await this.firstBlock()) <= slot) return null;
        throw new Unavailable(`the node does not reach back to slot ${slot}`);
      }
      before = found.at(-1)!.signature;
    }
    throw new Unavailable(`more than ${MOST_CALLS_FOR_AN_ACCOUNT * SIGNATURES_IN_A_CALL} transactions of ${vault} came later`);
  }

  /** Return what a token account held after a transaction. */
  async amountAfter(signature: string, address: string): Promise<bigint> {
    const { transaction, meta } = await this.transaction(signature);
    const { loadedAddresses, postTokenBalances } = meta;
    const keys = [...transaction.message.accountKeys, ...(loadedAddresses?.writable ?? []), ...(loadedAddresses?.readonly ?? [])];
    const place = keys.indexOf(address);
    const balance = postTokenBalances?.find(({ accountIndex }) => accountIndex === place);
    return BigInt(balance?.uiTokenAmount.amount ?? 0);
  }

  /** Return the lines that a transaction's programs have logged. */
  async logs(signature: string): Promise<string[]> {
    const { logMessages } = (await this.transaction(signature)).meta;
    if (!logMessages) throw new Unavailable(`the node does not have the logs of the transaction ${signature}`);
    return logMessages;
  }

  /** Return the vaults of a program for a mint. */
  async vaults(program: string, mint: string): Promise<Vault[]> {
    const filters = [
      { memcmp: { offset: 0, bytes: base58(VAULT_DISCRIMINATOR) } },
      { memcmp: { offset: VAULT_MINT_AT, bytes: mint } },
    ];
    const options = { encoding: "base64", commitment: "finalized", filters, dataSlice: VAULT };
    const found = await this.call<Shown[]>("getProgramAccounts", program, options);
    return found.map(({ pubkey, account }) => {
      const data = viewOf(account.data);
      return { address: pubkey, owner: addressIn(data, 0), total: data.getBigUint64(VAULT_TOTAL_AT, true) };
    });
  }

  private async mentioning(address: string, before: string | undefined): Promise<Mention[]> {
    const options = { limit: SIGNATURES_IN_A_CALL, commitment: "finalized", ...(before !== undefined && { before }) };
    return await this.call("getSignaturesForAddress", address, options);
  }

  private async transaction(signature: string): Promise<Transaction & { meta: NonNullable<Transaction["meta"]> }> {
    const options = { encoding: "json", commitment: "finalized", maxSupportedTransactionVersion: 0 };
    const found = await this.call<Transaction | null>("getTransaction", signature, options);
    if (!found?.meta) throw new Unavailable(`the node does not have the transaction ${signature}`);
    return { ...found, meta: found.meta };
  }

  private async blockIfKept(slot: bigint): Promise<Block | null> {
    const options = { transactionDetails: "none", rewards: false, maxSupportedTransactionVersion: 0, commitment: "finalized" };
    try {
      return await this.call("getBlock", Number(slot), options);
    } catch (fault) {
      if (fault instanceof Refusal && NO_BLOCK.has(fault.code)) return null;
      throw fault;
    }
  }

  private async call<T>(method: string, ...params: unknown[]): Promise<T> {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const request = { method: "POST", headers: { "Content-Type": "application/json" }, body };
    const answer = await read(this.url, LARGEST_ANSWER, request);
    const { result, error } = parsed(textOf(answer.body)) ?? {};
    if (error) throw new Refusal(`the node refuses ${method}: ${error.message}`, error.code);
    if (result === undefined) throw new Unavailable(`the node answers ${method} with status ${answer.status} and no result`);
    return result as T;
  }
}

function parsed(text: string | null): { result?: unknown; error?: { code: number; message: string } } | null {
  try {
    return JSON.parse(text ?? "") as { result?: unknown };
  } catch {
    return null;
  }
}

function viewOf([base64]: [string, string]): DataView {
  return new DataView(joined(Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))).buffer);
}

function addressIn(data: DataView, at: number): string {
  return base58(new Uint8Array(data.buffer, at, 32));
}
