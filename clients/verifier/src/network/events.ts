/** Events that a program has logged, as far as they tell what a vault held before. */
import { base58 } from "../values/addresses.js";
import { hexOf, ofText, sha256 } from "../values/bytes.js";
import { Unavailable } from "./fetched.js";

const DATA = "Program data: ";
const TRUNCATED = "Log truncated";
const ADDRESS = "[1-9A-HJ-NP-Za-km-z]{32,44}";
const BEGINS = new RegExp(`^Program (${ADDRESS}) invoke \\[\\d+\\]$`);
const ENDS = new RegExp(`^Program ${ADDRESS} (success|failed.*)$`);
const DISCRIMINATOR = 8;

/** Return a vault's total before an event, or null for one that leaves it as it is. Addresses begin at 8, 40 and 72. */
type TotalBefore = (event: DataView, vault: string) => bigint | null;

const paidIn: TotalBefore = (event, vault) => (addressAt(event, 8) === vault ? u64(event, 80) - u64(event, 72) : null);
const paidOut: TotalBefore = (event, vault) => (addressAt(event, 8) === vault ? u64(event, 80) + u64(event, 72) : null);
const emergency: TotalBefore = (event, vault) => (addressAt(event, 8) === vault ? u64(event, 112) + u64(event, 104) : null);
const compounded: TotalBefore = (event, vault) => (addressAt(event, 8) === vault ? u64(event, 112) - u64(event, 104) : null);
const closed: TotalBefore = (event, vault) => (addressAt(event, 8) === vault ? 0n : null);
const transferred: TotalBefore = (event, vault) => {
  if (addressAt(event, 40) === vault) return u64(event, 88) - u64(event, 72);
  return addressAt(event, 8) === vault ? u64(event, 80) + u64(event, 72) : null;
};

const EVENTS: Record<string, TotalBefore> = {
  DepositEvent: paidIn,
  WithdrawEvent: paidOut,
  EmergencyWithdrawEvent: emergency,
  TransferEvent: transferred,
  YieldCompoundEvent: compounded,
  VaultClosedEvent: closed,
};

/** Return a vault's total before the first event in a transaction's logs that has changed it, or null if none has. Throws Unavailable if the logs are cut off. */
export async function totalBefore(logs: string[], program: string, vault: string): Promise<bigint | null> {
  const known = await discriminators();
  for (const event of dataLoggedBy(program, logs)) {
    const found = known.get(hexOf(event.subarray(0, DISCRIMINATOR)));
    const before = found?.(new DataView(event.buffer), vault) ?? null;
    if (before !== null) return before;
  }
  return null;
}

async function discriminators(): Promise<Map<string, TotalBefore>> {
  const known = new Map<string, TotalBefore>();
  for (const [name, read] of Object.entries(EVENTS)) {
    known.set(hexOf((await sha256(ofText(`event:${name}`))).subarray(0, DISCRIMINATOR)), read);
  }
  return known;
}

/** Yield what the program has logged as data while it was the one that ran. Any other may log what looks like it. */
function* dataLoggedBy(program: string, logs: string[]): Generator<Uint8Array> {
  const running: string[] = [];
  for (const line of logs) {
    const begun = BEGINS.exec(line)?.[1];
    if (line === TRUNCATED) throw new Unavailable("the logs of a transaction are cut off");
    if (begun !== undefined) running.push(begun);
    else if (ENDS.test(line)) running.pop();
    else if (line.startsWith(DATA) && running.at(-1) === program) {
      for (const data of line.slice(DATA.length).split(" ")) yield Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
    }
  }
}

function addressAt(event: DataView, at: number): string {
  return base58(new Uint8Array(event.buffer, at, 32));
}

function u64(event: DataView, at: number): bigint {
  return event.getBigUint64(at, true);
}
