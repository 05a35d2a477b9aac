// What a transaction does, in words, and whether that is what its signer has asked for.

import instructions from "vault:instructions";

import { amountText, solText, words } from "../../parts/format";
import type { Deployment } from "../types";
import { base58 } from "./base58";
import type { Instruction, Message } from "./message";
import { isTokenAccountOf, TOKEN_ACCOUNTS } from "./token_account";

const COMPUTE_BUDGET = "ComputeBudget111111111111111111111111111111";
const SIGNATURE_LAMPORTS = 5_000n;
const DEFAULT_UNITS = 200_000n;
/** Above any fee that the service gives a transaction: it is paid to validators, whoever asks for it. */
const MOST_FEE = 10_000_000n;
const AMOUNTS = ["amount", "max_amount"];

/** The one instruction of the vault program that the transaction should have. */
export interface Expected {
  instruction: string;
  fields: Record<string, bigint>;
}

export interface Asked {
  expected: Expected;
  owner: string;
  signer: string;
  deployment: Deployment;
}

export interface Review {
  rows: [string, string][];
  /** Why nobody should sign it. */
  faults: string[];
}

interface Call {
  name: string;
  fields: Record<string, bigint | string>;
  accounts: Record<string, string>;
}

/** Say what a transaction does, and what of it was not asked for. */
export async function review(message: Message, asked: Asked): Promise<Review> {
  const { deployment, owner, signer, expected } = asked;
  const calls = message.instructions.filter(({ program }) => program === deployment.programs.collateral_vault).map(callOf);
  const [call] = calls;
  const payer = message.signers[0] ?? "nobody";
  const faults = message.instructions
    .filter(({ program }) => ![deployment.programs.collateral_vault, COMPUTE_BUDGET, TOKEN_ACCOUNTS].includes(program))
    .map(({ program }) => `It also calls the program ${program}, which this page does not know.`);
  if (message.hidesAccounts) faults.push("It hides accounts in a lookup table.");
  if (!message.signers.includes(signer)) faults.push(`It does not ask for the signature of your wallet, ${signer}.`);
  if (call === undefined || calls.length !== 1) faults.push("It does not have exactly one instruction of the vault program.");
  else faults.push(...differences(call, expected, owner), ...await strangeAccounts(message, call, asked));
  if (payer === signer && feeOf(message) > MOST_FEE) faults.push(`Its fee may be ${solText(feeOf(message))}, which no operation of this page costs.`);
  return { rows: [...described(call, deployment), ...costs(message, payer, asked)], faults };
}

function differences(call: Call, expected: Expected, owner: string): string[] {
  const found = [];
  if (call.name !== expected.instruction) found.push(`It does “${words(call.name)}” instead of “${words(expected.instruction)}”.`);
  for (const [name, value] of Object.entries(expected.fields)) {
    if (call.fields[name] !== value) found.push(`Its ${words(name)} is ${call.fields[name] ?? "missing"}, and you have asked for ${value}.`);
  }
  const named = call.accounts["owner"] ?? call.accounts["user"];
  if (named !== owner) found.push(`It is about the vault of ${named ?? "nobody"}.`);
  return found;
}

/** Return what tokens go to or come from, or what is created, that is not the token account of the owner. */
async function strangeAccounts(message: Message, call: Call, { owner, deployment }: Asked): Promise<string[]> {
  const found = [];
  const used = call.accounts["user_token_account"];
  if (used !== undefined && !(await isTokenAccountOf(owner, deployment.mint, used))) {
    found.push(`Its token account ${used} is not that of the vault's owner.`);
  }
  for (const { program, accounts, data } of message.instructions) {
    if (program !== TOKEN_ACCOUNTS) continue;
    const creates = data.length === 0 || (data.length === 1 && data[0]! <= 1);
    if (!creates || used === undefined || accounts[1]?.address !== used) {
      found.push(`It also creates or changes the token account ${accounts[1]?.address}, which this operation does not need.`);
    }
  }
  return found;
}

function described(call: Call | undefined, { decimals, programs }: Deployment): [string, string][] {
  if (call === undefined) return [];
  const rows: [string, string][] = [["What it does", words(call.name)], ["Vault program", programs.collateral_vault]];
  for (const [name, value] of Object.entries(call.fields)) {
    const isAmount = AMOUNTS.includes(name) && typeof value === "bigint";
    rows.push([words(name), isAmount ? `${amountText(value, decimals)} (${value} units)` : String(value)]);
  }
  const owner = call.accounts["owner"] ?? call.accounts["user"];
  if (owner !== undefined) rows.push(["Vault of", owner]);
  const wallet = call.accounts["user_token_account"];
  if (wallet !== undefined) rows.push([call.name === "deposit" ? "From the token account" : "To the token account", wallet]);
  return rows;
}

function costs(message: Message, payer: string, { signer, deployment }: Asked): [string, string][] {
  const who = payer === signer ? "your wallet" : payer === deployment.operator ? "the service" : "another signer";
  const rows: [string, string][] = [
    ["Fee payer", `${payer} (${who})`],
    ["Network fee, at most", solText(feeOf(message))],
    ["Signers", message.signers.join(", ")],
  ];
  for (const { program, accounts } of message.instructions) {
    if (program === TOKEN_ACCOUNTS) rows.push(["Creates the token account", `${accounts[1]?.address}; its rent is paid by ${accounts[0]?.address}`]);
  }
  return rows;
}

function feeOf(message: Message): bigint {
  let units = DEFAULT_UNITS * BigInt(message.instructions.length);
  let price = 0n;
  for (const { program, data } of message.instructions) {
    if (program !== COMPUTE_BUDGET) continue;
    if (data[0] === 2) units = BigInt(view(data).getUint32(1, true));
    if (data[0] === 3) price = view(data).getBigUint64(1, true);
  }
  return SIGNATURE_LAMPORTS * BigInt(message.signers.length) + (units * price + 999_999n) / 1_000_000n;
}

function callOf({ data, accounts }: Instruction): Call {
  const discriminator = [...data.subarray(0, 8)].map((each) => each.toString(16).padStart(2, "0")).join("");
  const known = instructions[discriminator];
  if (known === undefined) return { name: `unknown instruction ${discriminator}`, fields: {}, accounts: {} };
  return {
    name: known.name,
    fields: fieldsOf(known.args, data.subarray(8)),
    accounts: Object.fromEntries(known.accounts.map((name, place) => [name, accounts[place]?.address ?? "missing"])),
  };
}

/** Read an instruction's fields, up to the first one of a type that no operation of the page has. */
function fieldsOf(args: [string, unknown][], data: Uint8Array): Record<string, bigint | string> {
  const fields: Record<string, bigint | string> = {};
  let offset = 0;
  for (const [name, type] of args) {
    const size = { u64: 8, i64: 8, u32: 4, u8: 1, pubkey: 32 }[String(type)];
    if (size === undefined || offset + size > data.length) break;
    const bytes = data.subarray(offset, offset + size);
    offset += size;
    if (type === "pubkey") fields[name] = base58(bytes);
    else if (type === "i64") fields[name] = view(bytes).getBigInt64(0, true);
    else fields[name] = bytes.reduceRight((sum, each) => (sum << 8n) | BigInt(each), 0n);
  }
  return fields;
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

