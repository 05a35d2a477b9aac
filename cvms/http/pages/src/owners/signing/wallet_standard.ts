// The Wallet Standard, as its specification has it: how a page finds wallets, and what it asks of one.

import { Problem } from "../../api/client";
import { base58, toBase64 } from "./base58";

export interface Account {
  readonly address: string;
  readonly chains: readonly string[];
  readonly features: readonly string[];
  readonly label?: string;
}

export interface StandardWallet {
  readonly name: string;
  readonly chains: readonly string[];
  readonly features: Readonly<Record<string, unknown>>;
  readonly accounts: readonly Account[];
}

export interface SignedText {
  /** In base58. */
  signature: string;
  /** What the wallet has signed instead of the text, in base64, if it has wrapped it. */
  message?: string;
}

interface Connect {
  connect(input?: { silent?: boolean }): Promise<{ accounts: readonly Account[] }>;
}

interface Disconnect {
  disconnect(): Promise<void>;
}

interface Events {
  on(event: "change", listener: (changed: { accounts?: readonly Account[] }) => void): () => void;
}

interface SignMessage {
  signMessage(input: { account: Account; message: Uint8Array }):
    Promise<readonly { signedMessage: Uint8Array; signature: Uint8Array }[]>;
}

interface SignTransaction {
  signTransaction(input: { account: Account; transaction: Uint8Array; chain?: string }):
    Promise<readonly { signedTransaction: Uint8Array }[]>;
}

const NEEDED = ["standard:connect", "solana:signTransaction", "solana:signMessage"];

/** Call `changed` with all wallets that register, until the returned function is called. */
export function watchWallets(changed: (wallets: readonly StandardWallet[]) => void): () => void {
  let wallets: readonly StandardWallet[] = [];
  const show = (now: readonly StandardWallet[]) => changed((wallets = now));
  const register = (...added: StandardWallet[]) => {
    show([...wallets, ...added.filter((each) => !wallets.includes(each))]);
    return () => show(wallets.filter((each) => !added.includes(each)));
  };
  const page = Object.freeze({ register });
  // Whichever is loaded first, the page or the wallet, the other one hears of it.
  const heard = (event: Event) => (event as CustomEvent<(of: typeof page) => void>).detail(page);
  window.addEventListener("wallet-standard:register-wallet", heard);
  window.dispatchEvent(new CustomEvent("wallet-standard:app-ready", { detail: page }));
  return () => window.removeEventListener("wallet-standard:register-wallet", heard);
}

/** Return what the wallet lacks of what this page needs. */
export function lackingFeatures(wallet: StandardWallet): string[] {
  return NEEDED.filter((each) => !(each in wallet.features));
}

/** Ask the wallet for its accounts; `silent` asks nobody. Throws a Problem. */
export async function connect(wallet: StandardWallet, silent: boolean): Promise<readonly Account[]> {
  const { connect: ask } = wallet.features["standard:connect"] as Connect;
  return (await answerOf(wallet, ask(silent ? { silent } : undefined), "Connect it")).accounts;
}

export async function disconnect(wallet: StandardWallet): Promise<void> {
  const feature = wallet.features["standard:disconnect"] as Disconnect | undefined;
  await feature?.disconnect();
}

/** Call `changed` when the wallet's accounts do, until the returned function is called. */
export function watchAccounts(wallet: StandardWallet, changed: (accounts: readonly Account[]) => void): () => void {
  const events = wallet.features["standard:events"] as Events | undefined;
  return events?.on("change", ({ accounts }) => accounts && changed(accounts)) ?? (() => undefined);
}

/** An account that signs. */
export class Signer {
  constructor(
    readonly wallet: StandardWallet,
    readonly account: Account,
  ) {}

  get address(): string {
    return this.account.address;
  }

  async signText(text: string): Promise<SignedText> {
    const message = new TextEncoder().encode(text);
    const { signMessage } = this.wallet.features["solana:signMessage"] as SignMessage;
    const [signed] = await answerOf(this.wallet, signMessage({ account: this.account, message }), "Sign the text");
    if (signed === undefined) throw silence(this.wallet);
    const signature = base58(signed.signature);
    const wrapped = toBase64(signed.signedMessage);
    return wrapped === toBase64(message) ? { signature } : { signature, message: wrapped };
  }

  /** Return the transaction with the account's signature. `chain` is the service's, as in `mainnet`. */
  async signTransaction(transaction: Uint8Array, chain: string): Promise<Uint8Array> {
    const { signTransaction } = this.wallet.features["solana:signTransaction"] as SignTransaction;
    const named = this.account.chains.find((each) => each === `solana:${chain}`);
    const input = { account: this.account, transaction, ...(named === undefined ? {} : { chain: named }) };
    const [signed] = await answerOf(this.wallet, signTransaction(input), "Sign the transaction");
    if (signed === undefined) throw silence(this.wallet);
    return signed.signedTransaction;
  }
}

async function answerOf<T>(wallet: StandardWallet, answer: Promise<T>, what: string): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const advice = `Nothing was sent. ${what} in ${wallet.name} when you try again, or close this.`;
    throw new Problem(-1, "wallet_refused", `${wallet.name} has refused`, reason, advice, null);
  }
}

function silence(wallet: StandardWallet): Problem {
  return new Problem(-1, "wallet_refused", `${wallet.name} has signed nothing`, "It has answered without a signature.", "Nothing was sent. Try again.", null);
}
