// A wallet of Node's own cryptography: signs texts, and its place in a transaction.
import { createPrivateKey, createPublicKey, sign } from "node:crypto";

const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const PKCS8_ED25519 = Buffer.from("302e020100300506032b657004220420", "hex");

function base58(bytes: Buffer): string {
  let text = "";
  for (let number = BigInt(`0x${bytes.toString("hex")}`); number > 0n; number /= 58n) {
    text = ALPHABET[Number(number % 58n)] + text;
  }
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return "1".repeat(zeros) + text;
}

export class Wallet {
  readonly #key;
  readonly #publicKey: Buffer;
  readonly address: string;

  constructor(seed: Buffer) {
    this.#key = createPrivateKey({
      key: Buffer.concat([PKCS8_ED25519, seed]),
      format: "der",
      type: "pkcs8",
    });
    this.#publicKey = createPublicKey(this.#key).export({ format: "der", type: "spki" }).subarray(-32);
    this.address = base58(this.#publicKey);
  }

  signText(text: string): string {
    return sign(null, Buffer.from(text), this.#key).toString("base64");
  }

  // Shorter than 128 signatures and keys: each length is one byte.
  signTransaction(base64: string): string {
    const wire = Buffer.from(base64, "base64");
    const message = wire.subarray(1 + 64 * wire[0]!);
    const header = message[0]! & 0x80 ? 1 : 0;
    const keys = header + 4;
    for (let place = 0; place < wire[0]!; place++) {
      if (message.subarray(keys + 32 * place, keys + 32 * place + 32).equals(this.#publicKey)) {
        sign(null, message, this.#key).copy(wire, 1 + 64 * place);
        return wire.toString("base64");
      }
    }
    throw new Error(`${this.address} is not a signer`);
  }
}

export function checked<T>(value: T | undefined, what: unknown): T {
  if (value === undefined) throw new Error(`unexpected answer: ${JSON.stringify(what)}`);
  return value;
}

export function equal(actual: unknown, expected: unknown): void {
  if (actual !== expected) throw new Error(`got ${String(actual)}, expected ${String(expected)}`);
}
