/** The file of reserves: its lines, and what they have to say. */
import { addressBytes, vaultTokenAccount } from "../values/addresses.js";
import { compareBytes, hexOf, sha256, textOf } from "../values/bytes.js";
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

/** Read the file that the entry names. Throws FormError if it has another form, or is another file. */
export async function readReserves(file: Uint8Array, { reserves }: Entry): Promise<Reserves> {
  const hash = hexOf(await sha256(file));
  if (hash !== hexOf(reserves.hash)) throw new FormError(`the file's hash is ${hash}, and the entry's ${hexOf(reserves.hash)}`);
  const lines = linesOf(file).map(readLine);
  const vaults = lines.filter((line) => line.kind === "vault");
  const pools = lines.filter((line) => line.kind === "pool");
  const lent = (isProven: boolean) => sum(vaults.filter(({ pool }) => (pool !== null) === isProven), ({ lent }) => lent);
  const sums = {
    accounts: BigInt(lines.length), tokens: sum(vaults, ({ amount }) => amount), pools: lent(true), unproven: lent(false),
  };
  for (const name of ["accounts", "tokens", "pools", "unproven"] as const) {
    if (sums[name] !== reserves[name]) throw new FormError(`${name} is ${sums[name]} by the lines, and ${reserves[name]} by the entry`);
  }
  return { lines, vaults, pools };
}

/** Return what is there twice, out of order or in another's account, or null. */
export async function misplacedLine({ lines, vaults, pools }: Reserves, { program, mint }: Entry): Promise<string | null> {
  const order = lines.findIndex(({ kind }, place) => kind === "vault" && lines[place - 1]?.kind === "pool");
  if (order >= 0) return `${at(lines, lines[order]!)} is a vault's, after that of a pool`;
  const twice = repeated(lines.map(({ account }) => account)) ?? repeated(pools.map(({ pool }) => pool));
  if (twice !== null) return `${twice} is there twice`;
  for (const [place, line] of vaults.entries()) {
    const before = vaults[place - 1];
    if (before && compareBytes(addressBytes(before.account)!, addressBytes(line.account)!) >= 0) {
      return `${at(lines, line)}: ${line.account} is not in the order of the accounts' bytes`;
    }
    const expected = await vaultTokenAccount(line.owner, program, mint);
    if (line.account !== expected) return `${at(lines, line)}: the account of ${line.owner} is ${expected}, not ${line.account}`;
  }
  return null;
}

export function staleReading({ lines }: Reserves, { slot }: Entry): string | null {
  const found = lines.find((line) => line.slot < slot);
  return found ? `${found.account} was read at slot ${found.slot}, before the entry's, ${slot}` : null;
}

export function uncoveredVault({ vaults }: Reserves): string | null {
  const found = vaults.find(({ amount, total, lent }) => lent > total || amount < total - lent);
  return found ? `the vault of ${found.owner} has ${found.amount} tokens, of ${found.total}, with ${found.lent} lent` : null;
}

export function unableToPay({ vaults, pools }: Reserves): string | null {
  const known = new Map(pools.map((line) => [line.pool, line]));
  const lentTo = new Map<string, bigint>();
  for (const { owner, pool, lent, principal } of vaults) {
    if (pool === null) continue;
    if (principal! < lent) return `the position of ${owner} has ${principal}, of ${lent} lent`;
    lentTo.set(pool, (lentTo.get(pool) ?? 0n) + lent);
  }
  for (const [pool, lent] of lentTo) {
    const line = known.get(pool);
    if (!line) return `the pool ${pool} has no line`;
    if (line.principal < lent) return `the pool ${pool} owes ${line.principal}, and the vaults have lent it ${lent}`;
  }
  const short = pools.find(({ amount, principal }) => amount < principal);
  return short ? `the pool ${short.pool} has ${short.amount} tokens, and owes ${short.principal}` : null;
}

/** Return who of the tree is not in the file, as far as the file and the proof tell, or null. */
export function leftOut({ vaults }: Reserves, { liabilities }: Entry, { owner, balances }: Inclusion): string | null {
  if (BigInt(vaults.length) !== liabilities.vaults) return `there are ${vaults.length} lines of vaults, and ${liabilities.vaults} leaves`;
  const books = sum(vaults, (line) => line.books);
  if (books !== liabilities.total) return `the lines' books are ${books} together, and the tree's total is ${liabilities.total}`;
  const own = vaults.find((line) => line.owner === owner);
  if (!own) return `${owner} has no line`;
  return own.books === balances.total ? null : `the line of ${owner} has ${own.books}, and the proof ${balances.total}`;
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
    return read;
  } catch (fault) {
    throw fault instanceof FormError ? new FormError(`${name} of the file: ${fault.message}`) : fault;
  }
}

function repeated(values: string[]): string | null {
  const known = new Set<string>();
  return values.find((each) => known.size === known.add(each).size) ?? null;
}

function at(lines: ReserveLine[], line: ReserveLine): string {
  return `line ${lines.indexOf(line) + 1}`;
}

function sum<T>(lines: T[], of: (line: T) => bigint): bigint {
  return lines.reduce((all, line) => all + of(line), 0n);
}
