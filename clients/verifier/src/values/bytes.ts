/** Bytes, and their SHA-256 and Ed25519. */
import { verifyAsync } from "@noble/ed25519";

/** What WebCrypto takes. */
export type Bytes = Uint8Array<ArrayBuffer>;

export function joined(...parts: Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function ofText(text: string): Bytes {
  return joined(new TextEncoder().encode(text));
}

/** Return the text of UTF-8, or null if the bytes are none. */
export function textOf(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** The eight bytes of a u64, little-endian. */
export function ofU64(value: bigint): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  return bytes;
}

export function bytesOfHex(hex: string): Bytes {
  return Uint8Array.from({ length: hex.length / 2 }, (_, place) => parseInt(hex.slice(2 * place, 2 * place + 2), 16));
}

export function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (each) => each.toString(16).padStart(2, "0")).join("");
}

export async function sha256(...parts: Uint8Array[]): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

/** Return whether a key has signed a message, by RFC 8032. */
export async function isSigned(signature: Uint8Array, message: Uint8Array, key: Uint8Array): Promise<boolean> {
  return await verifyAsync(signature, message, key, { zip215: false });
}
