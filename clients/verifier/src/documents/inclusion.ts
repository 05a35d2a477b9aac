/** The inclusion proof: proof.json. */
import { address, digits, hex, integer, list, object } from "../values/forms.js";
import { parseJson } from "../values/json.js";
import { SIGNED_ENTRY } from "./entry.js";

const MAX_CHARACTERS = 131_072;
const MAX_SIBLINGS = 64;
const HASH_BYTES = 32;

// Balances and sums beyond a u64 have checks of their own.
const INCLUSION = object({
  entry: SIGNED_ENTRY,
  owner: address,
  balances: object({ total: digits, available: digits, locked: digits, timelocked: digits, yield_deposited: digits }),
  salt: hex(HASH_BYTES),
  index: integer,
  path: list(object({ hash: hex(HASH_BYTES), sums: list(digits, { exactly: 5 }) }), { most: MAX_SIBLINGS }),
});
export type Inclusion = ReturnType<typeof INCLUSION>;

/** Read proof.json. Throws FormError. */
export function readInclusion(written: string): Inclusion {
  return INCLUSION(parseJson(written, MAX_CHARACTERS), "the proof");
}
