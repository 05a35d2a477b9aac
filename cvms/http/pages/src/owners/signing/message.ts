// A Solana transaction, legacy or version 0, as far as its signer has to know it.

import { base58 } from "./base58";

const SIGNATURE_BYTES = 64;
const KEY_BYTES = 32;
const VERSIONED = 0x80;

export interface AccountUse {
  address: string;
  signer: boolean;
  writable: boolean;
}

export interface Instruction {
  program: string;
  accounts: AccountUse[];
  data: Uint8Array;
}

export interface Message {
  /** Who has to sign; the first one pays the fee. */
  signers: string[];
  instructions: Instruction[];
  /** It takes accounts of tables, which its bytes do not show. */
  hidesAccounts: boolean;
}

/** Decode what a transaction's signers sign. Throws an Error if it is malformed. */
export function decodeTransaction(wire: Uint8Array): Message {
  const reader = new Reader(wire);
  reader.take(reader.length() * SIGNATURE_BYTES);
  let signed = reader.byte();
  const versioned = (signed & VERSIONED) !== 0;
  if (versioned && signed !== VERSIONED) throw new Error(`The transaction has the unknown version ${signed & 0x7f}.`);
  if (versioned) signed = reader.byte();
  const readOnlySigned = reader.byte();
  const readOnly = reader.byte();
  const keys = reader.list(() => base58(reader.take(KEY_BYTES)));
  reader.take(KEY_BYTES); // the block hash
  const uses = keys.map((address, place): AccountUse => ({
    address,
    signer: place < signed,
    writable: place < signed ? place < signed - readOnlySigned : place < keys.length - readOnly,
  }));
  const account = (place: number): AccountUse => {
    const found = uses[place];
    if (found === undefined && !versioned) throw new Error("The transaction names an account that it does not have.");
    return found ?? { address: "of a lookup table", signer: false, writable: true };
  };
  const instructions = reader.list(() => ({
    program: account(reader.byte()).address,
    accounts: reader.list(() => account(reader.byte())),
    data: reader.take(reader.length()),
  }));
  const hidesAccounts = versioned && reader.length() > 0;
  return { signers: keys.slice(0, signed), instructions, hidesAccounts };
}

class Reader {
  private offset = 0;

  constructor(private readonly bytes: Uint8Array) {}

  byte(): number {
    return this.take(1)[0]!;
  }

  take(count: number): Uint8Array {
    const end = this.offset + count;
    if (end > this.bytes.length) throw new Error("The transaction ends too early.");
    const taken = this.bytes.subarray(this.offset, end);
    this.offset = end;
    return taken;
  }

  /** Read a length in Solana's compact form: seven bits a byte, the lowest first. */
  length(): number {
    let value = 0;
    for (let shift = 0; shift < 21; shift += 7) {
      const next = this.byte();
      value |= (next & 0x7f) << shift;
      if ((next & 0x80) === 0) return value;
    }
    throw new Error("The transaction has a malformed length.");
  }

  list<T>(item: () => T): T[] {
    return Array.from({ length: this.length() }, item);
  }
}
