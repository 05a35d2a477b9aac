/** The inclusion proof: proof.json. */
import { address, decimal, hex, integer, list, object } from "../values/forms.js";
import { parseJson } from "../values/json.js";
import { SIGNED_ENTRY } from "./entry.js";

const MAX_CHARACTERS = 131_072;
const MAX_SIBLINGS = 64;
const HASH_BYTES = 32;

const INCLUSION = object({
  entry: SIGNED_ENTRY,
  owner: address,
  balances: object({ total: decimal, available: decimal, locked: decimal, timelocked: decimal, yield_deposited: decimal }),
  salt: hex(HASH_BYTES),
  index: integer,
  path: list(object({ hash: hex(HASH_BYTES), sums: list(decimal, { exactly: 5 }) }), { most: MAX_SIBLINGS }),
});
export type Inclusion = ReturnType<typeof INCLUSION>;

/** Read proof.json. Throws FormError, TooLarge if a decimal is no u64. */
export function readInclusion(written: string): Inclusion {
  return INCLUSION(parseJson(written, MAX_CHARACTERS), "the proof");
}
