import type { Amount } from "../api/exact_json";

/** Write an amount of smallest units as tokens, with all its decimals and at least two. */
export function amountText(amount: Amount | string | null | undefined, decimals: number | null): string {
  if (amount === null || amount === undefined) return "unknown";
  const units = BigInt(amount);
  if (decimals === null) return `${units.toLocaleString("en")} units`;
  const sign = units < 0n ? "−" : "";
  const digits = (units < 0n ? -units : units).toString().padStart(decimals + 1, "0");
  const whole = BigInt(digits.slice(0, digits.length - decimals)).toLocaleString("en");
  const fraction = decimals === 0 ? "" : digits.slice(-decimals).replace(/0+$/, "").padEnd(Math.min(2, decimals), "0");
  return sign + (fraction === "" ? whole : `${whole}.${fraction}`);
}

export function numberText(value: number | bigint | null | undefined): string {
  return value === null || value === undefined ? "unknown" : value.toLocaleString("en");
}

export function solText(lamports: Amount | null | undefined): string {
  return lamports === null || lamports === undefined ? "unknown" : `${amountText(lamports, 9)} SOL`;
}

/** Write a time in UTC, to the second, as logs do. */
export function timeText(at: string | Date | null | undefined): string {
  if (at === null || at === undefined) return "never";
  return `${new Date(at).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function secondsText(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined) return "unknown";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 90) return `${Math.round(seconds * 10) / 10} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** Write `large_withdrawal` as "large withdrawal". */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

export function valueText(value: unknown): string {
  if (value === null || value === undefined) return "none";
  if (typeof value === "object") {
    return JSON.stringify(value, (_key, each: unknown) => (typeof each === "bigint" ? each.toString() : each));
  }
  return String(value);
}
