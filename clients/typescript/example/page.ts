// A page on which a wallet opens a vault, deposits and withdraws, and sees its balances live.
// `?service=` is the URL of the service, by default that of `make dev`. With `rpc` and `mint` of a
// local chain, the page can hand out test tokens.

import type { Wallet } from "@wallet-standard/base";
import { getWallets } from "@wallet-standard/app";
import { Client, standardWallet, type CoSign, type Outcome } from "cvms-client";
import { apply, type Movement } from "./movements.js";
import { fund } from "./local-chain.js";

const DECIMALS = 6;
const BALANCES = ["balance", "available", "locked", "timelocked", "yield_deposited"];
const query = new URLSearchParams(location.search);
const service = query.get("service") ?? "http://127.0.0.1:8080";
const rpc = query.get("rpc");
const mint = query.get("mint");

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found as T;
}

const registry = getWallets();
const choice = element<HTMLSelectElement>("wallets");

function usable(): readonly Wallet[] {
  return registry.get().filter(({ features }) => "solana:signMessage" in features);
}

function listWallets(): void {
  choice.replaceChildren(...usable().map(({ name }) => new Option(name)));
}
registry.on("register", listWallets);
listWallets();

element("connect").onclick = () => act("Connecting", async () => {
  const wallet = usable()[choice.selectedIndex];
  if (wallet === undefined) throw new Error("install a wallet of the Wallet Standard");
  const connect = wallet.features["standard:connect"] as { connect(): Promise<unknown> } | undefined;
  await connect?.connect();
  const client = new Client(service, { wallet: standardWallet(wallet) });
  element("address").textContent = client.address;
  offer(client);
  show(client).catch((error: unknown) => (element("status").textContent = String(error)));
});

function offer(client: Client): void {
  const amount = (): bigint => fromDecimal(element<HTMLInputElement>("amount").value);
  const buttons: Record<string, () => Promise<unknown>> = {
    open: () => land(client, client.openVault()),
    deposit: () => land(client, client.deposit(amount())),
    withdraw: () => land(client, client.withdraw(amount())),
  };
  if (rpc !== null && mint !== null) {
    element("fund").hidden = false;
    buttons["fund"] = () => fund(rpc, mint, client.address);
  }
  element("move").onsubmit = (event) => event.preventDefault();
  for (const [id, run] of Object.entries(buttons)) {
    const button = element<HTMLButtonElement>(id);
    button.onclick = () => act(button.textContent ?? id, run);
    button.disabled = false;
  }
}

async function land(client: Client, outcome: Promise<Outcome | CoSign>): Promise<void> {
  await client.finish(await outcome);
}

/** Show balances and movements as they change, for as long as the page is open. */
async function show(client: Client): Promise<void> {
  const owner = client.address;
  const movements = new Map<string, readonly Movement[]>();
  const topics = ["vault_balance_update", "deposit_event", "withdraw_event"];
  for await (const message of client.stream(...topics.map((name) => ({ name, owner })))) {
    if (message.topic === "vault_balance_update") {
      showBalances(message.data as Record<string, unknown> | null);
    } else {
      movements.set(message.topic, apply(movements.get(message.topic) ?? [], message));
      showMovements([...movements.values()].flat());
    }
  }
}

function showBalances(data: Record<string, unknown> | null): void {
  const rows = BALANCES.flatMap((name) => {
    const term = document.createElement("dt");
    term.textContent = name;
    const value = document.createElement("dd");
    value.id = name;
    value.textContent = toDecimal(BigInt(String(data?.[name] ?? 0)));
    return [term, value];
  });
  element("balances").replaceChildren(...rows);
}

function showMovements(movements: Movement[]): void {
  const newestFirst = movements.sort((one, other) => Number(other.slot - one.slot));
  const lines = newestFirst.map(({ kind, amount }) => {
    const line = document.createElement("li");
    line.textContent = `${kind} ${toDecimal(amount)}`;
    return line;
  });
  element("movements").replaceChildren(...lines);
}

async function act(what: string, run: () => Promise<unknown>): Promise<void> {
  const status = element("status");
  status.textContent = `${what} …`;
  try {
    await run();
    status.textContent = `${what}: done`;
  } catch (error) {
    status.textContent = `${what}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

function fromDecimal(text: string): bigint {
  const [, whole, fraction = ""] = /^([0-9]+)(?:\.([0-9]{1,6}))?$/.exec(text) ?? [];
  if (whole === undefined) throw new Error(`${text} is no amount with up to ${DECIMALS} decimals`);
  return BigInt(whole + fraction.padEnd(DECIMALS, "0"));
}

function toDecimal(amount: bigint): string {
  const digits = String(amount).padStart(DECIMALS + 1, "0");
  return `${digits.slice(0, -DECIMALS)}.${digits.slice(-DECIMALS)}`;
}
