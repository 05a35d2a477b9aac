// JSON in which integers are bigint: amounts and slots may exceed 2^53.

import { isInteger, parse, stringify } from "lossless-json";
import { ClientError } from "./errors.js";

export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };

/** Parse JSON. Integers become bigint, other numbers number. Throws ClientError. */
export function parseJson(text: string): unknown {
  try {
    return parse(text, undefined, {
      parseNumber: (number) => (isInteger(number) ? BigInt(number) : Number(number)),
    });
  } catch (error) {
    throw new ClientError(`not JSON: ${text.slice(0, 100)}`, { cause: error });
  }
}

/** Return a value as JSON, with bigint as integers. */
export function toJson(value: unknown): string {
  const text = stringify(value);
  if (text === undefined) throw new ClientError("a value without a form in JSON");
  return text;
}

/** Return whether a value is a JSON object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
