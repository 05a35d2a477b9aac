// Opens a vault, deposits and withdraws with openapi-fetch; amounts are strings in both directions.
import createClient from "openapi-fetch";
import type { paths } from "./schema.js";
import { checked, equal, Wallet } from "./wallet.js";

const wallet = new Wallet(Buffer.from(process.env.WALLET_SEED!, "hex"));
const owner = wallet.address;
const amount = process.env.AMOUNT!;
const cvms = createClient<paths>({
  baseUrl: process.env.SERVICE_URL!,
  headers: { Accept: "application/json; amounts=string" },
});

async function signed(action: string, ...fields: string[]) {
  const { data, error } = await cvms.POST("/api/auth/nonce", { body: { owner } });
  const { nonce } = checked(data, error);
  return { owner, nonce, signature: wallet.signText([action, owner, ...fields, nonce].join(":")) };
}

async function land(transaction: string | undefined): Promise<number> {
  const body = { transaction: wallet.signTransaction(checked(transaction, "no transaction")) };
  const { data, error } = await cvms.POST("/api/transactions", { body });
  const signature = checked(data?.signature ?? undefined, error);
  for (;;) {
    const found = await cvms.GET("/api/transactions/{signature}", { params: { path: { signature } } });
    const state = checked(found.data, found.error);
    if (state.status === "confirmed" || state.status === "finalized") {
      return checked(state.slot ?? undefined, state);
    }
    if (state.status !== "pending" && state.status !== "submitted") checked(undefined, state);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function balanceSince(slot: number): Promise<string> {
  for (;;) {
    const params = { path: { owner }, header: { "X-Min-Slot": slot } };
    const { data, error } = await cvms.GET("/api/vault/balance/{owner}", { params });
    if (data !== undefined) return data.balance;
    equal(error.code, "slot_not_indexed");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const opened = await cvms.POST("/api/vault/initialize", { body: { owner } });
await land(opened.data?.transaction);
const deposit = { ...(await signed("deposit", amount)), amount };
const deposited = await cvms.POST("/api/vault/deposit", { body: deposit });
equal(await balanceSince(await land(deposited.data?.transaction)), amount);

const part = "1000000";
const withdraw = { ...(await signed("withdraw", part)), amount: part };
const planned = await cvms.POST("/api/vault/withdraw", { body: withdraw });
console.log(`balance ${await balanceSince(await land(planned.data?.transaction))}`);
