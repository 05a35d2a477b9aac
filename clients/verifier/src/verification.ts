/** Verify a proof of reserves with files alone, as docs/proofs.md says. Nothing is sent anywhere. */
import { type Check, type CheckName, Report } from "./checks.js";
import { type Entry, hashOf, isSignedByItsKey, readEntry } from "./documents/entry.js";
import { type Inclusion, readInclusion } from "./documents/inclusion.js";
import { brokenLink, otherEnd, contradiction, type LogEntry, readLog } from "./documents/log.js";
import { readReserves, type Reserves } from "./documents/reserves.js";
import { added, leafOf, rootOf } from "./documents/sum_tree.js";
import { addressBytes } from "./values/addresses.js";
import { hexOf } from "./values/bytes.js";
import { BALANCES, MAX_U64, TooLarge } from "./values/forms.js";
import { FormError } from "./values/json.js";

export { type Check, type CheckName, CHECKS, type Outcome } from "./checks.js";

/** What a verifier is given. All but the proof may be missing. */
export interface Given {
  /** The text of proof.json. */
  proof: string;
  key?: string | undefined;
  program?: string | undefined;
  mint?: string | undefined;
  /** Copies of the log. */
  logs?: string[];
  /** The file of reserves. */
  reserves?: Uint8Array | undefined;
}

/** What checks with a node need of those without. */
export interface Verified {
  report: Report;
  inclusion: Inclusion | null;
  /** Null unless the proof itself is right. */
  entry: Entry | null;
  /** Null unless the file is the entry's. */
  reserves: Reserves | null;
}

const OF_THE_FILE: CheckName[] = ["reserves_file", "reserves_twice", "reserves_stale", "not_covered", "pool_cannot_pay", "left_out"];
const WITHOUT_NODE = "no node was asked";

/** Make every check that needs no node. */
export async function verify(given: Given): Promise<Check[]> {
  return (await verifyFiles(given)).report.checks(WITHOUT_NODE);
}

/** Make every check that needs no node, and return what the others need. */
export async function verifyFiles(given: Given): Promise<Verified> {
  const report = new Report();
  const found = await verifyInclusion(given.proof, report);
  if (found.entry === null) {
    for (const { name, outcome } of report.checks("")) {
      if (outcome === "not checked") report.skip("the proof itself fails", name);
    }
    return { report, ...found, reserves: null };
  }
  checkExpected(given, found, report);
  await checkLogs(given.logs ?? [], found, report);
  const reserves = await checkReserves(given.reserves, found, report);
  return { report, ...found, reserves };
}

interface Proven {
  inclusion: Inclusion;
  entry: Entry;
}

/** Make the checks that need the proof alone. The first that fails ends them: nothing after it means anything. */
async function verifyInclusion(proof: string, report: Report): Promise<Proven | { inclusion: Inclusion | null; entry: null }> {
  const inclusion = await attempt(report, "proof", "its parts have their forms", () => readInclusion(proof));
  if (inclusion === null) return { inclusion, entry: null };
  const entry = await attempt(report, "entry", "its text is canonical", () => readEntry(inclusion.entry.text));
  if (entry === null) return { inclusion, entry };
  const { key } = inclusion.entry;
  const signed = await isSignedByItsKey(inclusion.entry);
  report.decide("signature", signed ? null : `${key} has not signed the text`, `by ${key}`);
  if (signed) report.decide("overflow", overflow(inclusion), "each sum is a u64");
  if (report.has("overflow", "ok")) report.decide("balances", wrongTotal(inclusion, entry), `the vault has ${inclusion.balances.total}`);
  if (report.has("balances", "ok")) {
    const { total, vaults } = entry.liabilities;
    report.decide("inclusion", await outside(inclusion, entry), `leaf ${inclusion.index} of ${vaults}, which have ${total} together`);
  }
  return report.has("inclusion", "ok") ? { inclusion, entry } : { inclusion, entry: null };
}

function checkExpected({ key, program, mint }: Given, { inclusion, entry }: Proven, report: Report): void {
  if (key === undefined) report.skip("no key was given", "key");
  else report.decide("key", differs("key", inclusion.entry.key, key), `it is ${key}`);
  if (program === undefined && mint === undefined) {
    report.skip("neither program nor mint was given", "deployment");
  } else {
    const fault = differs("program", entry.program, program) ?? differs("mint", entry.mint, mint);
    const shown = [program && `program ${program}`, mint && `mint ${mint}`].filter(Boolean);
    report.decide("deployment", fault, shown.join(", "));
  }
}

async function checkLogs(texts: string[], { inclusion, entry }: Proven, report: Report): Promise<void> {
  if (texts.length === 0) return report.skip("no copy of the log was given", "fork", "log");
  const own: LogEntry = { entry, hash: await hashOf(inclusion.entry) };
  const copies = await attempt(report, "log", "", () => Promise.all(texts.map(readLog)));
  if (copies === null) return report.skip("a copy of the log has another form", "fork");
  const fault = copies.map(brokenLink).find((each) => each !== null) ?? null;
  const all = [own, ...copies.flat()];
  const fork = contradiction(all) ?? (fault === null ? otherEnd(all) : null);
  report.decide("fork", fork, `the proof and the copies of the log (${texts.length}) agree`);
  // A copy that was kept may be older than the proof.
  const isThere = copies.some((copy) => copy.some(({ hash }) => hash === own.hash));
  const absent = isThere ? null : `entry ${entry.number} of the proof is in no copy`;
  report.decide("log", fault ?? absent, `entry ${entry.number} of ${Math.max(...copies.map(({ length }) => length))}`);
}

async function checkReserves(file: Uint8Array | undefined, { inclusion, entry }: Proven, report: Report): Promise<Reserves | null> {
  if (file === undefined) {
    report.skip("no file of reserves was given", ...OF_THE_FILE);
    return null;
  }
  const found = await readReserves(file, entry, inclusion);
  if ("check" in found) {
    report.skip(`the file fails ${found.check}`, ...OF_THE_FILE);
    report.fail(found.check, found.detail);
    return null;
  }
  const { accounts, tokens, pools, unproven } = entry.reserves;
  report.pass("reserves_file", `${accounts} accounts: ${tokens} in vaults, ${pools} in pools, ${unproven} unproven`);
  report.pass("reserves_twice", "each account is there once");
  report.pass("reserves_stale", `none was read before slot ${entry.slot}`);
  report.pass("not_covered", covered(found));
  report.pass("pool_cannot_pay", `pools: ${found.pools.length}`);
  report.pass("left_out", `${found.vaults.length} vaults, by the file`);
  return found;
}

/** A sum of u64 is largest at the root, so the order of the path does not matter. */
function overflow({ balances, path }: Inclusion): string | null {
  const leaf = BALANCES.map((name) => balances[name]);
  const root = path.reduce((sums, sibling) => added(sums, sibling.sums), [0n, 0n, 0n, 0n, 0n]);
  const place = added(root, leaf).findIndex((each) => each > MAX_U64);
  return place < 0 ? null : `the sum of ${BALANCES[place]} exceeds 2^64 - 1`;
}

function wrongTotal({ balances }: Inclusion, { liabilities }: Entry): string | null {
  const vectors: [string, bigint[]][] = [
    ["the vault", BALANCES.map((name) => balances[name])],
    ["the entry", BALANCES.map((name) => liabilities[name])],
  ];
  for (const [name, [total, ...parts]] of vectors) {
    const sum = parts.reduce((all, each) => all + each, 0n);
    if (sum !== total) return `the total of ${name} is ${total}, and its parts are ${sum} together`;
  }
  return null;
}

/** Return why the vault is not in the entry's tree, or null. */
async function outside({ owner, balances, salt, index, path }: Inclusion, { liabilities }: Entry): Promise<string | null> {
  const leaf = await leafOf({ owner: addressBytes(owner)!, balances: BALANCES.map((name) => balances[name]), salt });
  const root = await rootOf(leaf, index, liabilities.vaults, path);
  if (root === null) return `a tree of ${liabilities.vaults} leaves has no path of ${path.length} siblings from leaf ${index}`;
  const isSame = hexOf(root.hash) === hexOf(liabilities.root) && BALANCES.every((name, place) => root.sums[place] === liabilities[name]);
  return isSame ? null : "the path does not lead to the entry's root";
}

function differs(name: string, found: string, expected: string | undefined): string | null {
  return expected === undefined || found === expected ? null : `the ${name} is ${found}, not ${expected}`;
}

/** Say how far the vaults have less than the books owe: tokens may have been withdrawn since the entry's slot. */
function covered({ vaults }: Reserves): string {
  const fewer = vaults.filter(({ total, books }) => total < books);
  const less = fewer.reduce((sum, { books, total }) => sum + books - total, 0n);
  const moved = fewer.length === 0 ? "" : `; ${fewer.length} say that ${less} left them after the entry's slot, which only the chain shows`;
  return `${vaults.length} vaults have what their accounts say${moved}`;
}

async function attempt<T>(report: Report, name: CheckName, detail: string, read: () => T | Promise<T>): Promise<T | null> {
  try {
    const value = await read();
    report.pass(name, detail);
    return value;
  } catch (fault) {
    if (!(fault instanceof FormError)) throw fault;
    report.fail(fault instanceof TooLarge && name !== "log" ? "overflow" : name, fault.message);
    return null;
  }
}
