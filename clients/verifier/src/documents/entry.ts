/** Signed entries of the log. */
import { addressBytes } from "../values/addresses.js";
import { hexOf, isSigned, ofText, sha256 } from "../values/bytes.js";
import { address, constant, decimal, hex, integer, object, orNull, text, time, transactionSignature } from "../values/forms.js";
import { FormError, parseCanonical } from "../values/json.js";

const PREFIX = "cvms proof of reserves\n";
const MAX_TEXT = 4_096;
const HASH_BYTES = 32;
const SIGNATURE_BYTES = 64;

/** The object around an entry's text. */
export const SIGNED_ENTRY = object({ text, key: address, signature: hex(SIGNATURE_BYTES), memo: orNull(transactionSignature) });
export type SignedEntry = ReturnType<typeof SIGNED_ENTRY>;

const ENTRY = object({
  version: constant(1n),
  number: integer,
  previous: hex(HASH_BYTES),
  time,
  genesis: address,
  program: address,
  mint: address,
  slot: integer,
  blockhash: address,
  liabilities: object({
    root: hex(HASH_BYTES),
    vaults: integer,
    total: decimal,
    available: decimal,
    locked: decimal,
    timelocked: decimal,
    yield_deposited: decimal,
  }),
  reserves: object({ hash: hex(HASH_BYTES), accounts: integer, tokens: decimal, pools: decimal, unproven: decimal }),
  audit: object({ id: integer, hash: hex(HASH_BYTES) }),
});
/** What an entry's text says. */
export type Entry = ReturnType<typeof ENTRY>;

/** Read the text of an entry. Throws FormError. */
export function readEntry(written: string): Entry {
  const entry = ENTRY(parseCanonical(written, MAX_TEXT), "the text");
  if (entry.number === 0n) throw new FormError("the text.number is 0, and the first is 1");
  return entry;
}

/** Return the entry's hash in hexadecimal. */
export async function hashOf(signed: SignedEntry): Promise<string> {
  return hexOf(await sha256(ofText(signed.text)));
}

/** Return whether the entry's key has signed its text. */
export async function isSignedByItsKey(signed: SignedEntry): Promise<boolean> {
  return await isSigned(signed.signature, ofText(PREFIX + signed.text), addressBytes(signed.key)!);
}

