/** The checks that need a node: whether the chain is the entry's, and shows what the file of reserves says. */
import type { Report } from "../checks.js";
import type { Entry } from "../documents/entry.js";
import type { ReserveLine, Reserves } from "../documents/reserves.js";
import type { Verified } from "../verification.js";
import { toldOf } from "./events.js";
import { Unavailable } from "./fetched.js";
import { type Block, Node, type TokenAccount, type Vault } from "./node.js";

const AT_ONCE = 4;
const MINUTE = 60n;

/** Why a line is wrong. */
class Contradicted extends Error {}

/** Add the outcomes of the checks with a node. `maxAge` is in minutes. */
export async function verifyWithNode(url: string, { report, entry, reserves }: Verified, maxAge: bigint): Promise<void> {
  if (entry === null) return;
  const node = new Node(url);
  const block = await checkBlock(node, entry, report);
  if (report.has("chain", "failed")) return report.skip("the node is not of the entry's chain", "stale", "reserves");
  await checkAge(node, entry, block, maxAge, report);
  if (reserves === null) return report.skip("there is no file of reserves that is the entry's", "reserves");
  await checkAmounts(node, entry, reserves, report);
  await checkMoved(node, entry, reserves, report);
  await checkVaults(node, entry, reserves, report);
}

async function checkBlock(node: Node, { genesis, slot, blockhash }: Entry, report: Report): Promise<Block | null> {
  return await whenAvailable(report, "chain", async () => {
    const found = await node.genesis();
    const block = found === genesis ? await node.block(slot) : null;
    const isSame = block?.blockhash === blockhash;
    const other = found === genesis ? `the block of slot ${slot} is ${block?.blockhash ?? "missing"}, not ${blockhash}` : `the node's chain is ${found}, not ${genesis}`;
    report.decide("chain", isSame ? null : other, `slot ${slot} has the block ${blockhash}`);
    return block;
  });
}

async function checkAge(node: Node, { time }: Entry, block: Block | null, maxAge: bigint, report: Report): Promise<void> {
  await whenAvailable(report, "stale", async () => {
    const age = (await node.clock()) - BigInt(block?.blockTime ?? time);
    const old = age > maxAge * MINUTE ? `it is ${age / MINUTE} minutes old, and may be ${maxAge}` : null;
    report.decide("stale", old, `it is ${age / MINUTE} minutes old`);
  });
}

async function checkAmounts(node: Node, { mint }: Entry, { lines }: Reserves, report: Report): Promise<void> {
  await whenAvailable(report, "reserves", async () => {
    const present = await node.tokenAccounts(lines.map(({ account }) => account));
    const unknown: string[] = [];
    const waiting = [...lines];
    const work = async () => {
      for (let line = waiting.pop(); line !== undefined; line = waiting.pop()) {
        const reason = await unconfirmed(node, mint, line, present.get(line.account));
        if (reason !== null) unknown.push(reason);
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, work));
    } catch (fault) {
      waiting.length = 0;
      if (fault instanceof Contradicted) return report.fail("reserves", fault.message);
      throw fault;
    }
    if (unknown.length === 0) report.pass("reserves", `${lines.length} accounts held what the file says`);
    else report.skip(`of ${lines.length} accounts, the node cannot confirm ${unknown.length}: ${unknown[0]}`, "reserves");
  });
}

/** Return why the node cannot know what the account held, or null if it held that. Throws Contradicted. */
async function unconfirmed(node: Node, mint: string, line: ReserveLine, now: TokenAccount | undefined): Promise<string | null> {
  const { account, amount, slot } = line;
  if (now && now.mint !== mint) throw new Contradicted(`${account} holds the token ${now.mint}`);
  const held = await amountAt(node, account, slot, now);
  if (held === null) return `${account} changed, and the node does not reach back to slot ${slot}`;
  if (held !== amount) throw new Contradicted(`${account} held ${held} at slot ${slot}, and ${amount} by the file`);
  return null;
}

/** Return what the account held at the end of a slot, or null if the node does not know. */
async function amountAt(node: Node, account: string, slot: bigint, now: TokenAccount | undefined): Promise<bigint | null> {
  const { isLater, last } = await node.mentions(account, slot);
  if (!isLater) return now?.amount ?? 0n;
  if (last !== null) return await node.amountAfter(last, account);
  return (await node.firstBlock()) > slot ? null : 0n;
}

/** Check that what is said to have moved since the entry's slot was there at that slot. */
async function checkMoved(node: Node, { slot }: Entry, { vaults }: Reserves, report: Report): Promise<void> {
  if (!report.has("not_covered", "ok")) return;
  await whenAvailable(report, "not_covered", async () => {
    const less = vaults.filter((line) => line.total < line.books);
    const present = await node.tokenAccounts(less.map(({ account }) => account));
    for (const { account, books, books_lent } of less) {
      const held = await amountAt(node, account, slot, present.get(account));
      if (held === null) return report.skip(`the node does not reach back to slot ${slot}`, "not_covered");
      if (held < books - books_lent) return report.fail("not_covered", `${account} held ${held} at slot ${slot}, and its vault ${books}, of which ${books_lent} were lent`);
    }
    report.pass("not_covered", `${vaults.length} accounts, ${less.length} of which held more at the entry's slot`);
  });
}

async function checkVaults(node: Node, entry: Entry, { vaults }: Reserves, report: Report): Promise<void> {
  if (!report.has("left_out", "ok")) return;
  await whenAvailable(report, "left_out", async () => {
    const known = new Set(vaults.map(({ owner }) => owner));
    const found = await node.vaults(entry.program, entry.mint);
    const unknown: string[] = [];
    for (const vault of found.filter(({ owner, total }) => total > 0n && !known.has(owner))) {
      try {
        const held = await totalAt(node, entry, vault);
        if (held > 0n) return report.fail("left_out", `the vault of ${vault.owner} held ${held} at slot ${entry.slot}, and has no line`);
      } catch (fault) {
        if (!(fault instanceof Unavailable)) throw fault;
        unknown.push(`the vault of ${vault.owner} has no line: ${fault.message}`);
      }
    }
    if (unknown.length > 0) return report.skip(unknown[0]!, "left_out");
    report.pass("left_out", `${vaults.length} vaults, by the file and by the chain`);
  });
}

/**
 * Return what a vault held at the entry's slot, by its later events: its token account may have lent all, or got tokens from anybody.
 * Throws Unavailable if what it held may have been of another mint.
 */
async function totalAt(node: Node, { program, slot }: Entry, { address, total }: Vault): Promise<bigint> {
  const later = await node.laterOn(address, slot);
  if (later === null) return 0n;
  let held: bigint | null = null;
  for (const signature of later) {
    for (const told of await toldOf(address, await node.logs(signature), program)) {
      held ??= told.before;
      if (held === 0n) return held;
      if (told.mayEndMint) throw new Unavailable(`it was opened anew since slot ${slot}: the node does not show of which mint it was`);
    }
  }
  return held ?? total;
}

async function whenAvailable<T>(report: Report, name: "chain" | "stale" | "reserves" | "not_covered" | "left_out", check: () => Promise<T>): Promise<T | null> {
  try {
    return await check();
  } catch (fault) {
    if (!(fault instanceof Unavailable)) throw fault;
    if (name === "left_out") report.pass(name, `by the file alone: ${fault.message}`);
    else report.skip(fault.message, name);
    return null;
  }
}
