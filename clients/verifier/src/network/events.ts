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

/** What an event tells of a vault: its total before, and whether the vault may have had another mint before. */
export interface Told {
  before: bigint;
  mayEndMint: boolean;
}

type Read = (event: DataView, vault: string) => Told | null;

const ofVault = (before: (event: DataView) => bigint, mayEndMint = false): Read => (event, vault) =>
  addressAt(event, 8) === vault ? { before: before(event), mayEndMint } : null;
const paidOut = ofVault((event) => u64(event, 80) + u64(event, 72));
const transferred: Read = (event, vault) => {
  if (addressAt(event, 40) === vault) return { before: u64(event, 88) - u64(event, 72), mayEndMint: false };
  return paidOut(event, vault);
};

/** Fields follow the discriminator: addresses first, then amounts. */
const EVENTS: Record<string, Read> = {
  DepositEvent: ofVault((event) => u64(event, 80) - u64(event, 72)),
  WithdrawEvent: paidOut,
  EmergencyWithdrawEvent: ofVault((event) => u64(event, 112) + u64(event, 104)),
  TransferEvent: transferred,
  YieldCompoundEvent: ofVault((event) => u64(event, 112) - u64(event, 104)),
  VaultClosedEvent: ofVault(() => 0n, true),
  UpdateUsdtMintEvent: ofVault(() => 0n, true),
};

/** Return what the events in a transaction's logs tell of a vault, in their order. Throws Unavailable if the logs are cut off. */
export async function toldOf(vault: string, logs: string[], program: string): Promise<Told[]> {
  const known = await discriminators();
  const told: Told[] = [];
  for (const event of dataLoggedBy(program, logs)) {
    const found = known.get(hexOf(event.subarray(0, DISCRIMINATOR)))?.(new DataView(event.buffer), vault);
    if (found) told.push(found);
  }
  return told;
}

async function discriminators(): Promise<Map<string, Read>> {
  const known = new Map<string, Read>();
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
