// A wallet for tests that speaks the Wallet Standard, as a browser extension would. It signs
// everything without asking, with a key that ends with the browser tab: use it on local chains only.

import { getPublicKeyAsync, signAsync } from "@noble/ed25519";
import { base64 } from "@scure/base";
import type { Wallet, WalletAccount } from "@wallet-standard/base";
import type {
  SolanaSignMessageFeature,
  SolanaSignTransactionFeature,
} from "@solana/wallet-standard-features";
import { keypairWallet } from "cvms-client";

const KEY = "test wallet";
const CHAINS = ["solana:localnet", "solana:devnet"] as const;
const ICON = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciLz4=";

const kept = sessionStorage.getItem(KEY);
const seed = kept === null ? crypto.getRandomValues(new Uint8Array(32)) : base64.decode(kept);
sessionStorage.setItem(KEY, base64.encode(seed));
const signer = await keypairWallet(seed);

const account: WalletAccount = {
  address: signer.address,
  publicKey: await getPublicKeyAsync(seed),
  chains: CHAINS,
  features: ["solana:signMessage", "solana:signTransaction"],
};
let accounts: readonly WalletAccount[] = [];
const listeners = new Set<(changed: { accounts: readonly WalletAccount[] }) => void>();

const features: SolanaSignMessageFeature & SolanaSignTransactionFeature & Wallet["features"] = {
  "standard:connect": {
    version: "1.0.0",
    async connect() {
      accounts = [account];
      listeners.forEach((listener) => listener({ accounts }));
      return { accounts };
    },
  },
  "standard:events": {
    version: "1.0.0",
    on(_: "change", listener: (changed: { accounts: readonly WalletAccount[] }) => void) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  },
  "solana:signMessage": {
    version: "1.0.0",
    async signMessage(...inputs) {
      const signed = inputs.map(async ({ message }) => ({
        signedMessage: message,
        signature: await signAsync(message, seed),
      }));
      return await Promise.all(signed);
    },
  },
  "solana:signTransaction": {
    version: "1.0.0",
    supportedTransactionVersions: ["legacy", 0],
    async signTransaction(...inputs) {
      const signed = inputs.map(async ({ transaction }) => ({
        signedTransaction: base64.decode(await signer.cosign(base64.encode(transaction))),
      }));
      return await Promise.all(signed);
    },
  },
};

const wallet: Wallet = {
  version: "1.0.0",
  name: "Test wallet",
  icon: ICON,
  chains: CHAINS,
  features,
  get accounts() {
    return accounts;
  },
};

// The standard's two events: whichever of wallet and page is loaded first, the other one hears of it.
type Register = (wallet: Wallet) => void;
const callback = ({ register }: { register: Register }): void => register(wallet);
window.dispatchEvent(new CustomEvent("wallet-standard:register-wallet", { detail: callback }));
window.addEventListener("wallet-standard:app-ready", (event) => {
  callback((event as CustomEvent<{ register: Register }>).detail);
});
