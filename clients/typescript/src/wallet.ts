// Wallets, whose keys sign requests and transactions.

import { getPublicKeyAsync, signAsync } from "@noble/ed25519";
import { base58, base64 } from "@scure/base";
import type {
  SolanaSignMessageFeature,
  SolanaSignTransactionFeature,
} from "@solana/wallet-standard-features";
import type { IdentifierString, Wallet as StandardWallet, WalletAccount } from "@wallet-standard/base";
import { ClientError } from "./errors.js";
import { addSignature, signersOf } from "./transaction.js";

export interface SignedText {
  /** In base58. */
  readonly signature: string;
  /** What the wallet has signed instead of the text, in base64, if it has wrapped it. */
  readonly message?: string;
}

export interface Wallet {
  /** The public key, in base58. */
  readonly address: string;
  /** Sign the text of a request. */
  signText(text: string): Promise<SignedText>;
  /** Return the transaction (base64) with this wallet's signature added. */
  cosign(transaction: string): Promise<string>;
}

/** Return a wallet whose key is in this process: 64 bytes as in a Solana keypair file, or a seed. */
export async function keypairWallet(secretKey: Uint8Array): Promise<Wallet> {
  if (secretKey.length !== 64 && secretKey.length !== 32) {
    throw new ClientError("a secret key has 64 bytes, or 32 without the public key");
  }
  const seed = secretKey.slice(0, 32);
  const address = base58.encode(await getPublicKeyAsync(seed));
  if (secretKey.length === 64 && base58.encode(secretKey.subarray(32)) !== address) {
    throw new ClientError("the public key in the secret key is another one");
  }
  return {
    address,
    async signText(text) {
      const signature = await signAsync(new TextEncoder().encode(text), seed);
      return { signature: base58.encode(signature) };
    },
    async cosign(transaction) {
      const wire = base64.decode(transaction);
      const { message, signers } = signersOf(wire);
      if (!signers.includes(address)) {
        throw new ClientError(`the transaction does not need the signature of ${address}`);
      }
      return base64.encode(addSignature(wire, address, await signAsync(message, seed)));
    },
  };
}

export interface StandardWalletOptions {
  /** The account that signs. By default the wallet's first. */
  readonly account?: WalletAccount;
  /** The chain of the transactions, by default the account's first: `solana:mainnet`. */
  readonly chain?: IdentifierString;
}

/**
 * Return a connected wallet of the Wallet Standard.
 *
 * It needs the features `solana:signMessage` and `solana:signTransaction`.
 */
export function standardWallet(wallet: StandardWallet, options: StandardWalletOptions = {}): Wallet {
  const account = options.account ?? wallet.accounts[0];
  if (account === undefined) throw new ClientError(`connect ${wallet.name} first`);
  const { signMessage } = feature<SolanaSignMessageFeature>(wallet, "solana:signMessage");
  const { signTransaction } = feature<SolanaSignTransactionFeature>(wallet, "solana:signTransaction");
  const chain = options.chain ?? account.chains[0];
  return {
    address: account.address,
    async signText(text) {
      const message = new TextEncoder().encode(text);
      const [signed] = await signMessage({ account, message });
      if (signed === undefined) throw new ClientError(`${wallet.name} has signed nothing`);
      const signature = base58.encode(signed.signature);
      const wrapped = base64.encode(signed.signedMessage);
      return wrapped === base64.encode(message) ? { signature } : { signature, message: wrapped };
    },
    async cosign(transaction) {
      const wire = base64.decode(transaction);
      const [signed] = await signTransaction({
        account,
        transaction: wire,
        ...(chain === undefined ? {} : { chain }),
      });
      if (signed === undefined) throw new ClientError(`${wallet.name} has signed nothing`);
      return base64.encode(signed.signedTransaction);
    },
  };
}

function feature<T extends object>(wallet: StandardWallet, name: keyof T & IdentifierString): T[typeof name] {
  const found = (wallet.features as Partial<T>)[name];
  if (found === undefined) throw new ClientError(`${wallet.name} does not have ${name}`);
  return found;
}
