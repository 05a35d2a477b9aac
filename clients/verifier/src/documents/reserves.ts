/** The file of reserves: its lines, and what they have to say. */
import type { CheckName } from "../checks.js";
import { vaultTokenAccount } from "../values/addresses.js";
import { hexOf, sha256, textOf } from "../values/bytes.js";
import { address, constant, decimal, hex, integer, object, orNull } from "../values/forms.js";
import { FormError, parseCanonical } from "../values/json.js";
import type { Entry } from "./entry.js";
import type { Inclusion } from "./inclusion.js";

const MAX_LINE = 4_096;
const HASH_BYTES = 32;
const READING = { account: address, slot: integer, amount: decimal, lamports: decimal, hash: hex(HASH_BYTES) };
const VAULT = object({
  ...READING,
  kind: constant("vault"),
  owner: address,
  books: decimal,
  books_lent: decimal,
  total: decimal,
  lent: decimal,
  pool: orNull(address),
  principal: orNull(decimal),
});
const POOL = object({ ...READING, kind: constant("pool"), pool: address, principal: decimal });

export type VaultLine = ReturnType<typeof VAULT>;
export type PoolLine = ReturnType<typeof POOL>;
export type ReserveLine = VaultLine | PoolLine;

/** The lines in the order of the file, and those of each kind. */
export interface Reserves {
  lines: ReserveLine[];
  vaults: VaultLine[];
  pools: PoolLine[];
}

/** A check that the file fails. */
export interface Fault {
  check: CheckName;
  detail: string;
}

/** Return the file's lines, or what is wrong first: of each line, then of all. */
export async function readReserves(file: Uint8Array, entry: Entry, inclusion: Inclusion): Promise<Reserves | Fault> {
  const reserves: Reserves = { lines: [], vaults: [], pools: [] };
  try {
    for (const [place, written] of linesOf(file).entries()) {
      const line = readLine(written, place);
      const fault = await faultOfLine(line, reserves, entry);
      if (fault !== null) return { ...fault, detail: `line ${place + 1}: ${fault.detail}` };
      add(line, reserves);
    }
  } catch (fault) {
    if (!(fault instanceof FormError)) throw fault;
    return { check: "reserves_file", detail: fault.message };
  }
  return (await faultOfFile(file, reserves, entry, inclusion)) ?? reserves;
}

function add(line: ReserveLine, { lines, vaults, pools }: Reserves): void {
  lines.push(line);
  if (line.kind === "vault") vaults.push(line);
  else pools.push(line);
}

/** Return what is wrong with a line that follows these, or null. */
async function faultOfLine(line: ReserveLine, before: Reserves, entry: Entry): Promise<Fault | null> {
  const misplaced = line.kind === "vault" ? await misplacedVault(line, before, entry) : misplacedPool(line, before);
  if (misplaced !== null) return { check: "reserves_twice", detail: misplaced };
  const { account, slot } = line;
  if (slot < entry.slot) return { check: "reserves_stale", detail: `${account} was read at slot ${slot}, before the entry's, ${entry.slot}` };
  return line.kind === "vault" ? faultOfVault(line) : faultOfPool(line);
}

async function misplacedVault({ owner, account }: VaultLine, { vaults, pools }: Reserves, { program, mint }: Entry): Promise<string | null> {
  if (pools.length > 0) return `the vault of ${owner} comes after a pool`;
  const last = vaults.at(-1)?.owner;
  if (last !== undefined && last >= owner) return last === owner ? `${owner} is there twice` : `${owner} comes after ${last}`;
  const expected = await vaultTokenAccount(owner, program, mint);
  return account === expected ? null : `the account of ${owner} is ${expected}, not ${account}`;
}

function misplacedPool({ pool, account }: PoolLine, { lines, pools }: Reserves): string | null {
  const last = pools.at(-1)?.pool;
  if (last !== undefined && last >= pool) return last === pool ? `the pool ${pool} is there twice` : `${pool} comes after ${last}`;
  return lines.some((each) => each.account === account) ? `the account ${account} is there twice` : null;
}

function faultOfVault({ owner, amount, total, lent, principal }: VaultLine): Fault | null {
  if (lent > total || amount < total - lent) {
    return { check: "not_covered", detail: `the vault of ${owner} has ${amount} tokens, of ${total}, with ${lent} lent` };
  }
  const isShort = principal !== null && principal < lent;
  return isShort ? { check: "pool_cannot_pay", detail: `the position of ${owner} has ${principal}, of ${lent} lent` } : null;
}

function faultOfPool({ pool, amount, principal }: PoolLine): Fault | null {
  return amount < principal ? { check: "pool_cannot_pay", detail: `the pool ${pool} has ${amount} tokens, and owes ${principal}` } : null;
}

/** Return what is wrong with the whole, or null. */
async function faultOfFile(file: Uint8Array, reserves: Reserves, entry: Entry, inclusion: Inclusion): Promise<Fault | null> {
  const steps: [CheckName, () => string | null | Promise<string | null>][] = [
    ["reserves_file", () => otherFile(file, reserves, entry)],
    ["left_out", () => leftOut(reserves, entry, inclusion)],
    ["pool_cannot_pay", () => missingPool(reserves)],
    ["reserves_file", () => otherSum(reserves, entry)],
  ];
  for (const [check, fault] of steps) {
    const detail = await fault();
    if (detail !== null) return { check, detail };
  }
  return null;
}

async function otherFile(file: Uint8Array, { lines }: Reserves, { reserves }: Entry): Promise<string | null> {
  const [found, expected] = [hexOf(await sha256(file)), hexOf(reserves.hash)];
  if (found !== expected) return `the file's hash is ${found}, and the entry's ${expected}`;
  return BigInt(lines.length) === reserves.accounts ? null : `there are ${lines.length} lines, and ${reserves.accounts} by the entry`;
}

/** Return who of the tree is not in the file, as far as the file and the proof tell, or null. */
function leftOut({ vaults }: Reserves, { liabilities }: Entry, { owner, balances }: Inclusion): string | null {
  if (BigInt(vaults.length) !== liabilities.vaults) return `there are ${vaults.length} lines of vaults, and ${liabilities.vaults} leaves`;
  const books = sum(vaults, (line) => line.books);
  if (books !== liabilities.total) return `the lines' books are ${books} together, and the tree's total is ${liabilities.total}`;
  const lent = sum(vaults, (line) => line.books_lent);
  if (lent !== liabilities.yield_deposited) return `the lines' books_lent are ${lent} together, and the tree's yield_deposited is ${liabilities.yield_deposited}`;
  const own = vaults.find((line) => line.owner === owner);
  if (!own) return `${owner} has no line`;
  return own.books === balances.total ? null : `the line of ${owner} has ${own.books}, and the proof ${balances.total}`;
}

function missingPool({ vaults, pools }: Reserves): string | null {
  const known = new Map(pools.map((line) => [line.pool, line]));
  const lentTo = new Map<string, bigint>();
  for (const { pool, lent } of vaults) if (pool !== null) lentTo.set(pool, (lentTo.get(pool) ?? 0n) + lent);
  for (const [pool, lent] of lentTo) {
    const line = known.get(pool);
    if (!line) return `the pool ${pool} has no line`;
    if (line.principal < lent) return `the pool ${pool} owes ${line.principal}, and the vaults have lent it ${lent}`;
  }
  return null;
}

function otherSum({ vaults }: Reserves, { reserves }: Entry): string | null {
  const lent = (isProven: boolean) => sum(vaults.filter(({ pool }) => (pool !== null) === isProven), (line) => line.lent);
  const sums = { tokens: sum(vaults, ({ amount }) => amount), pools: lent(true), unproven: lent(false) };
  for (const name of ["tokens", "pools", "unproven"] as const) {
    if (sums[name] !== reserves[name]) return `${name} is ${sums[name]} by the lines, and ${reserves[name]} by the entry`;
  }
  return null;
}

function linesOf(file: Uint8Array): string[] {
  const written = textOf(file);
  if (written === null) throw new FormError("the file is no UTF-8");
  if (written === "") return [];
  if (!written.endsWith("\n")) throw new FormError("the file's last line has no line feed");
  return written.slice(0, -1).split("\n");
}

function readLine(line: string, place: number): ReserveLine {
  const name = `line ${place + 1}`;
  try {
    const value = parseCanonical(line, MAX_LINE);
    const isPool = value instanceof Map && value.get("kind") === "pool";
    const read = isPool ? POOL(value, name) : VAULT(value, name);
    if (read.kind === "vault" && (read.pool === null) !== (read.principal === null)) {
      throw new FormError("only one of pool and principal is null");
    }
    if (read.kind === "vault" && read.pool !== null && read.lent === 0n) throw new FormError("nothing is lent to its pool");
    if (read.kind === "vault" && read.books_lent > read.books) throw new FormError("books_lent exceeds books");
    return read;
  } catch (fault) {
    throw fault instanceof FormError ? new FormError(`${name} of the file: ${fault.message}`) : fault;
  }
}

function sum<T>(lines: T[], of: (line: T) => bigint): bigint {
  return lines.reduce((all, line) => all + of(line), 0n);
}
