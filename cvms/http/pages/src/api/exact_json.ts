/** Whole numbers that a JavaScript number cannot hold exactly are bigints. */
export type Amount = number | bigint;

type Reviver = (key: string, value: unknown, context?: { source?: string }) => unknown;

const exactly: Reviver = (_key, value, context) => {
  const source = context?.source;
  const isLarge = typeof value === "number" && !Number.isSafeInteger(value);
  return isLarge && source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
};

/** Parse JSON without rounding its whole numbers. */
export function parseExactly(text: string): unknown {
  return JSON.parse(text, exactly as (key: string, value: unknown) => unknown);
}
