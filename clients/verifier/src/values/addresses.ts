/** Addresses of Solana: base58, and those that programs derive. */
import { Point } from "@noble/ed25519";

import { type Bytes, joined, ofText, sha256 } from "./bytes.js";

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const ADDRESS_BYTES = 32;
const DERIVED = ofText("ProgramDerivedAddress");
const TOKEN_PROGRAM = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const TOKEN_ACCOUNT_PROGRAM = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL";

/** Return the bytes of base58, or null if these are not so many. */
export function bytesOfBase58(text: string, length: number): Bytes | null {
  if (text.length < length || text.length > 2 * length) return null;
  let value = 0n;
  for (const each of text) {
    const digit = ALPHABET.indexOf(each);
    if (digit < 0) return null;
    value = value * 58n + BigInt(digit);
  }
  const bytes = new Uint8Array(length);
  let place = length;
  for (; value > 0n; value >>= 8n) {
    if (place === 0) return null;
    bytes[--place] = Number(value & 255n);
  }
  const ones = /^1*/.exec(text)![0].length;
  return ones === place ? bytes : null;
}

export function base58(bytes: Uint8Array): string {
  let value = bytes.reduce((sum, each) => (sum << 8n) | BigInt(each), 0n);
  let text = "";
  for (; value > 0n; value /= 58n) text = ALPHABET[Number(value % 58n)] + text;
  const zeros = bytes.findIndex((each) => each !== 0);
  return "1".repeat(zeros < 0 ? bytes.length : zeros) + text;
}

/** Return an address's 32 bytes, or null if it is none. */
export function addressBytes(text: string): Bytes | null {
  return bytesOfBase58(text, ADDRESS_BYTES);
}

/** Return the associated token account, of a mint, of the vault of an owner. */
export async function vaultTokenAccount(owner: string, program: string, mint: string): Promise<string> {
  const vault = await derived([ofText("vault"), bytesOf(owner)], bytesOf(program));
  const seeds = [vault, bytesOf(TOKEN_PROGRAM), bytesOf(mint)];
  return base58(await derived(seeds, bytesOf(TOKEN_ACCOUNT_PROGRAM)));
}

/** Return the address of a program with these seeds: the first of its hashes that is no point of the curve. */
async function derived(seeds: Bytes[], program: Bytes): Promise<Bytes> {
  for (let bump = 255; bump >= 0; bump -= 1) {
    const found = await sha256(joined(...seeds), Uint8Array.of(bump), program, DERIVED);
    if (!isOnCurve(found)) return found;
  }
  throw new RangeError("each hash is a point of the curve");
}

/** As Solana's runtime decides: an encoding need not be canonical. */
function isOnCurve(bytes: Uint8Array): boolean {
  try {
    Point.fromBytes(bytes, true);
    return true;
  } catch {
    return false;
  }
}

function bytesOf(address: string): Bytes {
  const bytes = addressBytes(address);
  if (bytes === null) throw new RangeError(`${address} is no address`);
  return bytes;
}
