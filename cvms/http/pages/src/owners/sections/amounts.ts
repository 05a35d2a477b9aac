import { Problem } from "../../api/client";
import type { Field } from "../../parts/fields";

export const AMOUNT: Field = { name: "amount", label: "Amount in USDT", value: "", inputMode: "decimal" };

/** Return an amount that somebody has typed, in the token's smallest units. Throws a Problem. */
export function readAmount(text: string | undefined, decimals: number): bigint {
  const entered = (text ?? "").trim();
  // Where 1,5 is one and a half, 1,500 is, too. As the page writes it, a comma is followed by a point.
  const typed = /^\d{1,3}(?:,\d{3})+\.\d*$/.test(entered) ? entered.replaceAll(",", "") : entered;
  const [, whole, fraction = ""] = /^(\d{1,20})(?:\.(\d*))?$/.exec(typed) ?? [];
  if (whole === undefined) throw invalid(`“${entered}” is not an amount.`, "Write digits and at most one point, as in 25 or 25.5.");
  if (fraction.length > decimals) {
    throw invalid(`${typed} has ${fraction.length} decimals, and the token has ${decimals}.`, "Leave out the rest.");
  }
  const units = BigInt(whole + fraction.padEnd(decimals, "0"));
  if (units === 0n) throw invalid("The amount is 0.", "Write how much it is.");
  return units;
}

/** Return a duration that somebody has typed, in seconds. Throws a Problem. */
export function readSeconds(count: string | undefined, unit: string | undefined): bigint {
  const typed = (count ?? "").trim();
  if (!/^\d{1,9}$/.test(typed) || BigInt(typed) === 0n) throw invalid(`“${typed}” is not a duration.`, "Write a whole number, as in 24.");
  return BigInt(typed) * BigInt(unit ?? "1");
}

function invalid(detail: string, advice: string): Problem {
  return new Problem(-1, "invalid_entry", "Check what you have entered", detail, advice, null);
}
