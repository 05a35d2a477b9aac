// Whose token account an address is, as the program of associated token accounts derives it.

import { base58, keyOf } from "./base58";

export const TOKEN_ACCOUNTS = "ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL";
const TOKENS = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA";
const MARKER = new TextEncoder().encode("ProgramDerivedAddress");

/** Return whether an address is a wallet's token account of a mint. */
export async function isTokenAccountOf(wallet: string, mint: string, address: string): Promise<boolean> {
  // Browsers leave it out on pages without TLS.
  if (!("subtle" in crypto)) throw new Error("This page can check what you sign only if it is served with TLS.");
  const seeds = [wallet, TOKENS, mint].flatMap((each) => [...keyOf(each)]);
  const end = [...keyOf(TOKEN_ACCOUNTS), ...MARKER];
  // The program takes the first bump that gives no public key. At the addresses of the others there is no account.
  for (let bump = 255; bump >= 0; bump -= 1) {
    const hash = await crypto.subtle.digest("SHA-256", Uint8Array.from([...seeds, bump, ...end]));
    if (base58(new Uint8Array(hash)) === address) return true;
  }
  return false;
}
