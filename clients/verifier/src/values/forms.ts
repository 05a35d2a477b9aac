/** The forms of values in docs/proofs.md, under "Notation". Each reader throws FormError, which says where. */
import { addressBytes, bytesOfBase58 } from "./addresses.js";
import { bytesOfHex } from "./bytes.js";
import { FormError, type Json } from "./json.js";

export const MAX_U64 = 2n ** 64n - 1n;
/** In this order everywhere; the first is the sum of the others. */
export const BALANCES = ["total", "available", "locked", "timelocked", "yield_deposited"] as const;

const SIGNATURE_BYTES = 64;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const LONGEST_SHOWN = 60;

/** Reads a value, which stands `at` a place. */
export type Form<T> = (value: Json, at: string) => T;
type Read<Forms> = { [Name in keyof Forms]: Forms[Name] extends Form<infer T> ? T : never };

/** An object with these names and no others. */
export function object<Forms extends Record<string, Form<unknown>>>(forms: Forms): Form<Read<Forms>> {
  return (value, at) => {
    if (!(value instanceof Map)) throw misfit(at, value, "an object");
    const unknown = [...value.keys()].find((name) => !Object.hasOwn(forms, name));
    if (unknown !== undefined) throw new FormError(`${at} has the name ${shown(unknown)}, which does not belong there`);
    const read = Object.entries(forms).map(([name, form]) => {
      const found = value.get(name);
      if (found === undefined) throw new FormError(`${at} lacks ${name}`);
      return [name, form(found, `${at}.${name}`)];
    });
    return Object.fromEntries(read) as Read<Forms>;
  };
}

/** An array of at most so many values, or of exactly so many. */
export function list<T>(form: Form<T>, { most, exactly }: { most?: number; exactly?: number }): Form<T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw misfit(at, value, "an array");
    if (most !== undefined && value.length > most) throw new FormError(`${at} has ${value.length} values, and may have ${most}`);
    if (exactly !== undefined && value.length !== exactly) throw new FormError(`${at} has ${value.length} values instead of ${exactly}`);
    return value.map((each, place) => form(each, `${at}[${place}]`));
  };
}

export function orNull<T>(form: Form<T>): Form<T | null> {
  return (value, at) => (value === null ? null : form(value, at));
}

export function constant<T extends Json>(expected: T): Form<T> {
  return (value, at) => {
    if (value !== expected) throw misfit(at, value, shown(expected));
    return expected;
  };
}

export const text: Form<string> = (value, at) => {
  if (typeof value !== "string") throw misfit(at, value, "a string");
  return value;
};

/** An integer of JSON, from 0. */
export const integer: Form<bigint> = (value, at) => {
  if (typeof value !== "bigint" || value < 0n || value > MAX_U64) throw misfit(at, value, "an integer from 0 to 2^64 - 1");
  return value;
};

/** A decimal that is larger than a u64. */
export class TooLarge extends FormError {}

/** A u64 as a string. Throws TooLarge, too. */
export const decimal: Form<bigint> = (value, at) => {
  const isOne = typeof value === "string" && value.length <= 80 && /^(?:0|[1-9][0-9]*)$/.test(value);
  if (!isOne) throw misfit(at, value, "an integer as a string, without sign and leading zeros");
  const read = BigInt(value);
  if (read > MAX_U64) throw new TooLarge(`${at} is ${read}, which exceeds 2^64 - 1`);
  return read;
};

/** So many bytes in hexadecimal, in lower case. */
export function hex(bytes: number): Form<Uint8Array> {
  return (value, at) => {
    if (typeof value !== "string" || value.length !== 2 * bytes || !/^[0-9a-f]*$/.test(value)) {
      throw misfit(at, value, `${bytes} bytes in hex of lower case`);
    }
    return bytesOfHex(value);
  };
}

/** An address or a blockhash: base58 of 32 bytes. */
export const address: Form<string> = (value, at) => {
  if (typeof value !== "string" || addressBytes(value) === null) throw misfit(at, value, "base58 of 32 bytes");
  return value;
};

export const transactionSignature: Form<string> = (value, at) => {
  const bytes = typeof value === "string" ? bytesOfBase58(value, SIGNATURE_BYTES) : null;
  if (bytes === null) throw misfit(at, value, `base58 of ${SIGNATURE_BYTES} bytes`);
  return value as string;
};

/** A point in time, in seconds since 1970. */
export const time: Form<bigint> = (value, at) => {
  const milliseconds = typeof value === "string" && TIME.test(value) ? Date.parse(value) : NaN;
  const isTime = !Number.isNaN(milliseconds) && new Date(milliseconds).toISOString() === `${String(value).slice(0, -1)}.000Z`;
  if (!isTime) throw misfit(at, value, "a time YYYY-MM-DDThh:mm:ssZ");
  return BigInt(milliseconds / 1_000);
};

function misfit(at: string, value: Json, expected: string): FormError {
  return new FormError(`${at} is ${shown(value)} instead of ${expected}`);
}

function shown(value: Json): string {
  if (value instanceof Map) return "an object";
  if (Array.isArray(value)) return "an array";
  const written = typeof value === "bigint" ? String(value) : JSON.stringify(value);
  return written.length > LONGEST_SHOWN ? `${written.slice(0, LONGEST_SHOWN)}…` : written;
}
