// Opens a vault, deposits and withdraws, with the client that @hey-api/openapi-ts generates.
// Every request and reply is checked by its zod schemas; amounts are bigint, and exact.
import { client } from "./generated/client.gen.js";
import * as cvms from "./generated/sdk.gen.js";
import { checked, equal, Wallet } from "./wallet.js";

const wallet = new Wallet(Buffer.from(process.env.WALLET_SEED!, "hex"));
const owner = wallet.address;
const amount = BigInt(process.env.AMOUNT!);
client.setConfig({
  baseUrl: process.env.SERVICE_URL!,
  headers: { Accept: "application/json; amounts=string" },
  throwOnError: true,
});

async function signed(action: string, ...fields: bigint[]) {
  const { data } = await cvms.issueNonce({ body: { owner }, throwOnError: true });
  const signature = wallet.signText([action, owner, ...fields, data.nonce].join(":"));
  return { owner, nonce: data.nonce, signature };
}

// Returns the slot in which the transaction landed.
async function land(transaction: string | undefined): Promise<bigint> {
  const body = { transaction: wallet.signTransaction(checked(transaction, "no transaction")) };
  const { data } = await cvms.submitTransaction({ body, throwOnError: true });
  const signature = checked(data.signature ?? undefined, data);
  for (;;) {
    const state = (await cvms.getTransaction({ path: { signature }, throwOnError: true })).data;
    if (state.status === "confirmed" || state.status === "finalized") {
      return checked(state.slot ?? undefined, state);
    }
    if (state.status !== "pending" && state.status !== "submitted") checked(undefined, state);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

// Reads the balance as of a slot or a later one, once that is indexed.
async function balanceSince(slot: bigint): Promise<bigint> {
  for (;;) {
    const headers = { "X-Min-Slot": slot };
    const { data, error } = await cvms.getBalance({ path: { owner }, headers, throwOnError: false });
    if (data !== undefined) return data.balance;
    equal(error.code, "slot_not_indexed");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const opened = await cvms.initializeVault({ body: { owner }, throwOnError: true });
await land(opened.data.transaction);
const deposit = { ...(await signed("deposit", amount)), amount };
const deposited = await cvms.deposit({ body: deposit, throwOnError: true });
equal(await balanceSince(await land(deposited.data.transaction)), amount);

const part = 1_000_000n;
const headers = { "Idempotency-Key": crypto.randomUUID() };
const withdraw = { ...(await signed("withdraw", part)), amount: part };
const planned = (await cvms.withdraw({ body: withdraw, headers, throwOnError: true })).data;
equal(planned.mode, "cosign");
const left = await balanceSince(await land(planned.transaction));
equal(left, amount - part);

const history = (await cvms.listTransactions({ path: { owner }, throwOnError: true })).data;
equal(history.transactions.map((each) => each.amount).join(), [part, amount].join());
equal(history.transactions.every((each) => each.block_time instanceof Date), true);

// A problem has its type as well.
const refused = await cvms.getBalance({ path: { owner: "1".repeat(32) }, throwOnError: false });
equal(refused.error?.code, "vault_not_found");
console.log(`balance ${left}`);
