/** Copies of the log: whether each entry follows from the one before, and whether two contradict each other. */
import { hexOf } from "../values/bytes.js";
import { FormError, parseJson } from "../values/json.js";
import { type Entry, hashOf, isSignedByItsKey, readEntry, SIGNED_ENTRY } from "./entry.js";

const MAX_LINE = 16_384;
const NO_HASH = "0".repeat(64);

export interface LogEntry {
  entry: Entry;
  hash: string;
}

/** Read a copy of the log: a signed entry a line, each signed by its key. Throws FormError. */
export async function readLog(written: string): Promise<LogEntry[]> {
  const lines = written.split("\n");
  if (lines.at(-1) === "") lines.pop();
  const found: LogEntry[] = [];
  for (const [place, line] of lines.entries()) {
    const at = `line ${place + 1} of the log`;
    const signed = SIGNED_ENTRY(within(at, () => parseJson(line, MAX_LINE)), at);
    const entry = within(at, () => readEntry(signed.text));
    if (!(await isSignedByItsKey(signed))) throw new FormError(`${at} is not signed by its key`);
    found.push({ entry, hash: await hashOf(signed) });
  }
  return found;
}

/** Return why the copy is no log, or null. */
export function brokenLink(log: LogEntry[]): string | null {
  for (const [place, next] of log.entries()) {
    const fault = place === 0 ? faultOfFirst(next.entry) : faultBetween(log[place - 1]!, next.entry);
    if (fault !== null) return fault;
  }
  return null;
}

/** Return where two entries have one number, or one slot, or null. */
export function contradiction(entries: LogEntry[]): string | null {
  const known = new Map<string, string>();
  for (const { entry, hash } of entries) {
    for (const place of [`number ${entry.number}`, `slot ${entry.slot}`]) {
      const other = known.get(place) ?? hash;
      if (other !== hash) return `there are two entries of ${place}: ${other} and ${hash}`;
      known.set(place, hash);
    }
  }
  return null;
}

/** Return where one copy ends with another entry than the one that another copy goes on from, or null. */
export function otherEnd(entries: LogEntry[]): string | null {
  const known = new Map(entries.map(({ entry, hash }) => [entry.number, hash]));
  for (const { entry } of entries) {
    const before = known.get(entry.number - 1n);
    if (before !== undefined && before !== hexOf(entry.previous)) return `entry ${entry.number} follows another entry ${entry.number - 1n}`;
  }
  return null;
}

function faultOfFirst(entry: Entry): string | null {
  const isWrong = entry.number === 1n && hexOf(entry.previous) !== NO_HASH;
  return isWrong ? "entry 1 has the hash of an entry before" : null;
}

function faultBetween(before: LogEntry, next: Entry): string | null {
  const [last, name] = [before.entry, `entry ${next.number}`];
  if (next.number !== last.number + 1n) return `entry ${next.number} comes after entry ${last.number}`;
  if (hexOf(next.previous) !== before.hash) return `${name} does not have the hash of the one before`;
  if (next.slot <= last.slot) return `the slot of ${name}, ${next.slot}, is not after ${last.slot}`;
  for (const part of ["genesis", "program", "mint"] as const) {
    if (next[part] !== last[part]) return `${name} has the ${part} ${next[part]}, the one before ${last[part]}`;
  }
  if (next.audit.id < last.audit.id) return `the audit trail of ${name} is shorter than before`;
  const isSame = next.audit.id !== last.audit.id || hexOf(next.audit.hash) === hexOf(last.audit.hash);
  return isSame ? null : `${name} has another hash of the audit trail's entry ${next.audit.id}`;
}

function within<T>(at: string, read: () => T): T {
  try {
    return read();
  } catch (fault) {
    throw fault instanceof FormError ? new FormError(`${at}: ${fault.message}`) : fault;
  }
}
