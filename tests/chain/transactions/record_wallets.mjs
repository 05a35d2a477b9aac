// Records what wallets make of a plan, with the libraries that they are written with, for
// wallet_recordings.json: npm install @solana/web3.js@1 @solana/kit, then
//   node record_wallets.mjs PLAN > wallet_recordings.json
// where PLAN is the base64 of the plan in that file. The wallet's key is that of the seed 02…02.
import {
  ComputeBudgetProgram,
  Keypair,
  PublicKey,
  SystemProgram,
  Transaction,
  TransactionInstruction,
  TransactionMessage,
  VersionedTransaction,
} from "@solana/web3.js";
import {
  compileTransactionMessage,
  decompileTransactionMessage,
  getCompiledTransactionMessageDecoder,
  getCompiledTransactionMessageEncoder,
} from "@solana/kit";

const [plan] = process.argv.slice(2);
const wallet = Keypair.fromSeed(new Uint8Array(32).fill(2));
const lighthouse = new PublicKey("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");
const fresh = new PublicKey(new Uint8Array(32).fill(4)).toBase58();
const bytes = () => Buffer.from(plan, "base64");

// Lighthouse's assertions as Phantom has put them into transactions on mainnet.
const before = "0604010202a8f6914e88a1b0e210153ef763ae2b00c2b93d16c124d2c0537a100480000000";
const after = "06040300605d4039000000000403000001000000000000000000";
const assertion = (data, pubkey) =>
  new TransactionInstruction({
    programId: lighthouse,
    keys: [{ pubkey, isSigner: false, isWritable: false }],
    data: Buffer.from(data, "hex"),
  });

const parts = () => TransactionMessage.decompile(VersionedTransaction.deserialize(bytes()).message);
const isBudget = (each) => each.programId.equals(ComputeBudgetProgram.programId);
const tokens = parts().instructions.at(-1).keys[3].pubkey; // the wallet's, of a deposit

function versioned(change) {
  const message = parts();
  change(message);
  const transaction = new VersionedTransaction(message.compileToV0Message());
  transaction.sign([wallet]);
  return transaction.serialize();
}

function legacy(change = () => {}) {
  const message = parts();
  change(message);
  const transaction = new Transaction({
    feePayer: message.payerKey,
    recentBlockhash: message.recentBlockhash,
  }).add(...message.instructions);
  transaction.partialSign(wallet);
  return transaction.serialize({ requireAllSignatures: false });
}

function withKit() {
  const raw = bytes().subarray(1 + 64 * bytes()[0]);
  const message = decompileTransactionMessage(getCompiledTransactionMessageDecoder().decode(raw));
  const again = getCompiledTransactionMessageEncoder().encode(compileTransactionMessage(message));
  const signatures = bytes().subarray(0, 1 + 64 * bytes()[0]);
  const transaction = VersionedTransaction.deserialize(Buffer.concat([signatures, again]));
  transaction.sign([wallet]);
  return transaction.serialize();
}

const recordings = {
  "Phantom, another party pays: one assertion at the end": versioned((message) => {
    message.instructions.push(assertion(after, wallet.publicKey));
  }),
  "Phantom, assertions around and a price of its own": versioned((message) => {
    const ours = message.instructions.filter((each) => !isBudget(each));
    message.instructions = [
      ComputeBudgetProgram.setComputeUnitLimit({ units: 200_000 }),
      ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 10_000 }),
      assertion(before, tokens),
      ...ours,
      assertion(after, wallet.publicKey),
      assertion(before, tokens),
    ];
  }),
  "Solflare: a compute budget and two assertions": versioned((message) => {
    const ours = message.instructions.filter((each) => !isBudget(each));
    message.instructions = [
      ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 50_000 }),
      ComputeBudgetProgram.setComputeUnitLimit({ units: 300_000 }),
      ...ours,
      assertion(after, wallet.publicKey),
      assertion(after, tokens),
    ];
  }),
  "A refreshed block hash": versioned((message) => {
    message.recentBlockhash = fresh;
  }),
  "wallet-adapter, a legacy transaction": legacy(),
  "wallet-adapter, a legacy transaction with a refreshed block hash": legacy((message) => {
    message.recentBlockhash = fresh;
  }),
  "@solana/kit, taken apart and put together": withKit(),
  "Signed as it is": versioned(() => {}),
  "An assertion about the fee payer": versioned((message) => {
    message.instructions.push(assertion(after, message.payerKey));
  }),
  "The wallet pays the fee itself": versioned((message) => {
    message.payerKey = wallet.publicKey;
  }),
  "A tip to a block builder": versioned((message) => {
    const tip = { fromPubkey: wallet.publicKey, toPubkey: tokens, lamports: 1_000 };
    message.instructions.push(SystemProgram.transfer(tip));
  }),
  "A price beyond the caps": versioned((message) => {
    message.instructions[1] = ComputeBudgetProgram.setComputeUnitPrice({ microLamports: 5_000_000 });
  }),
};
const encoded = Object.entries(recordings).map(([made, wire]) => [
  made,
  Buffer.from(wire).toString("base64"),
]);
console.log(JSON.stringify({ plan, transactions: Object.fromEntries(encoded) }, null, 1));
