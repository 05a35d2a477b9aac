// The wire format of a Solana transaction, as far as adding a signature needs it.

import { base58 } from "@scure/base";
import { ClientError } from "./errors.js";

const SIGNATURE_BYTES = 64;
const KEY_BYTES = 32;
const VERSIONED = 0x80;

export interface SigningParts {
  /** The bytes that every signer signs. */
  readonly message: Uint8Array;
  /** The keys that have to sign, in the order of the signatures. */
  readonly signers: readonly string[];
  /** Where the signatures begin. */
  readonly offset: number;
}

/** Return what is to be signed in a transaction, legacy or versioned, and by whom. */
export function signersOf(wire: Uint8Array): SigningParts {
  const [count, offset] = compactLength(wire, 0);
  const start = offset + count * SIGNATURE_BYTES;
  const message = wire.slice(start);
  const header = byte(message, 0) & VERSIONED ? 1 : 0;
  if (byte(message, header) !== count) throw new ClientError("a malformed transaction");
  const [, keys] = compactLength(message, header + 3);
  const signers = Array.from({ length: count }, (_, index) => {
    const from = keys + index * KEY_BYTES;
    byte(message, from + KEY_BYTES - 1);
    return base58.encode(message.subarray(from, from + KEY_BYTES));
  });
  return { message, signers, offset };
}

/** Return the transaction with the signature of one of its signers. */
export function addSignature(wire: Uint8Array, signer: string, signature: Uint8Array): Uint8Array {
  const { signers, offset } = signersOf(wire);
  const index = signers.indexOf(signer);
  if (index < 0) throw new ClientError(`${signer} is no signer of the transaction`);
  const signed = wire.slice();
  signed.set(signature, offset + index * SIGNATURE_BYTES);
  return signed;
}

/** Return a length in Solana's compact form, and the offset of what follows it. */
function compactLength(bytes: Uint8Array, offset: number): [number, number] {
  let value = 0;
  for (let place = 0; place < 3; place += 1) {
    const next = byte(bytes, offset + place);
    value |= (next & 0x7f) << (7 * place);
    if (!(next & 0x80)) return [value, offset + place + 1];
  }
  throw new ClientError("a malformed transaction");
}

function byte(bytes: Uint8Array, offset: number): number {
  const value = bytes[offset];
  if (value === undefined) throw new ClientError("a transaction that ends too early");
  return value;
}
