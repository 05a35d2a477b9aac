const ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/** Write bytes in base58, as Solana writes keys and signatures. */
export function base58(bytes: Uint8Array): string {
  let value = bytes.reduce((sum, each) => (sum << 8n) | BigInt(each), 0n);
  let text = "";
  for (; value > 0n; value /= 58n) text = ALPHABET[Number(value % 58n)] + text;
  const zeros = bytes.findIndex((each) => each !== 0);
  return "1".repeat(zeros < 0 ? bytes.length : zeros) + text;
}

/** Read a key in base58. Throws an Error if it is none. */
export function keyOf(text: string): Uint8Array {
  let value = 0n;
  for (const each of text) {
    const digit = ALPHABET.indexOf(each);
    if (digit < 0) throw new Error(`${text} is no address.`);
    value = value * 58n + BigInt(digit);
  }
  const key = new Uint8Array(32);
  for (let place = 31; place >= 0; place -= 1, value >>= 8n) key[place] = Number(value & 0xffn);
  if (value > 0n) throw new Error(`${text} is no address.`);
  return key;
}

export function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}

export function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (each) => each.charCodeAt(0));
}
