#!/usr/bin/env node
/** The command: a line for each check, and 0 if none failed, 1 if one failed, 2 if it could not begin. */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { verifyWithNode } from "./network/chain.js";
import { Unavailable } from "./network/fetched.js";
import { fetchLog, fetchReserves } from "./network/service.js";
import { addressBytes } from "./values/addresses.js";
import { textOf } from "./values/bytes.js";
import { type Given, type Verified, verifyFiles } from "./verification.js";

const USAGE = `usage: node dist/verify.js proof.json [--key KEY] [--program PROGRAM] [--mint MINT] [--log FILE]...
       [--reserves FILE] [--rpc URL] [--service URL] [--max-age MINUTES]`;
const TWO_HOURS = "120";

/** Arguments that cannot be used. The message says which, and what to do. */
class Misuse extends Error {}

interface Arguments {
  given: Given;
  rpc: string | undefined;
  service: string | undefined;
  maxAge: bigint;
}

async function main(words: string[]): Promise<number> {
  const { given, rpc, service, maxAge } = await readArguments(words);
  const found = await verifyFiles(given);
  const verified = service === undefined ? found : await verifyFiles(await withPublished(given, service, found));
  if (rpc !== undefined) await verifyWithNode(rpc, verified, maxAge);
  const checks = verified.report.checks("no node was given");
  for (const { name, outcome, detail } of checks) console.log(`${outcome.padEnd(11)}  ${name.padEnd(15)}  ${detail}`);
  return checks.some(({ outcome }) => outcome === "failed") ? 1 : 0;
}

/** Add what was not given and the service has. Says so if it cannot be read. */
async function withPublished(given: Given, service: string, { entry }: Verified): Promise<Given> {
  if (entry === null) return given;
  const logs = await orNothing(fetchLog(service));
  const reserves = given.reserves ?? (await orNothing(fetchReserves(service, entry.slot)));
  return { ...given, logs: [...(given.logs ?? []), ...(logs === undefined ? [] : [logs])], reserves };
}

async function orNothing<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (fault) {
    if (!(fault instanceof Unavailable)) throw fault;
    console.error(fault.message);
    return undefined;
  }
}

async function readArguments(words: string[]): Promise<Arguments> {
  const { values, positionals } = options(words);
  const [proof] = positionals;
  if (proof === undefined || positionals.length > 1) throw new Misuse("give one file, the inclusion proof");
  for (const name of ["key", "program", "mint"] as const) {
    const value = values[name];
    if (value !== undefined && addressBytes(value) === null) throw new Misuse(`--${name} ${value} is no address: base58 of 32 bytes`);
  }
  if (!/^[0-9]{1,9}$/.test(values["max-age"])) throw new Misuse(`--max-age ${values["max-age"]} is no number of minutes`);
  const given: Given = {
    proof: await readText(proof),
    key: values.key,
    program: values.program,
    mint: values.mint,
    logs: await Promise.all(values.log.map(readText)),
    reserves: values.reserves === undefined ? undefined : await readBytes(values.reserves),
  };
  return { given, rpc: url("rpc", values.rpc), service: url("service", values.service), maxAge: BigInt(values["max-age"]) };
}

function options(words: string[]) {
  const string = { type: "string" } as const;
  try {
    return parseArgs({
      args: words,
      allowPositionals: true,
      options: {
        key: string, program: string, mint: string, reserves: string, rpc: string, service: string,
        log: { type: "string", multiple: true, default: [] as string[] },
        "max-age": { type: "string", default: TWO_HOURS },
      },
    });
  } catch (fault) {
    throw fault instanceof TypeError ? new Misuse(fault.message) : fault;
  }
}

function url(name: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) throw new Misuse(`--${name} ${value} is no URL of http or https`);
  return value.replace(/\/+$/, "");
}

async function readText(file: string): Promise<string> {
  const text = textOf(await readBytes(file));
  if (text === null) throw new Misuse(`${file} is no UTF-8`);
  return text;
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (fault) {
    throw new Misuse(`${file} cannot be read: ${fault instanceof Error ? fault.message : String(fault)}`);
  }
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (fault) {
  if (!(fault instanceof Misuse)) throw fault;
  console.error(`${fault.message}\n${USAGE}`);
  process.exitCode = 2;
}
