// The client against a real service on a local chain.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client, keypairWallet } from "cvms-client";
import { fund, gate, url, USDT } from "./surroundings.mjs";

const timeout = 60_000;

async function walletWithTokens() {
  const wallet = await keypairWallet(crypto.getRandomValues(new Uint8Array(32)));
  await fund(wallet.address);
  return wallet;
}

async function take(stream, count) {
  const messages = [];
  while (messages.length < count) messages.push((await stream.next()).value);
  return messages;
}

test("a vault is opened, filled, read, and emptied", { timeout }, async () => {
  const client = new Client(url, { wallet: await walletWithTokens() });
  await client.finish(await client.openVault());
  await client.finish(await client.deposit(25n * USDT));
  const { balance, slot } = await client.balance();
  assert.equal(balance, 25n * USDT);
  assert.equal(typeof slot, "bigint");
  await client.finish(await client.withdraw(String(5n * USDT)));
  const movements = await client.movements();
  assert.deepEqual(
    movements.map(({ kind, amount }) => [kind, amount]),
    [["withdraw", 5n * USDT], ["deposit", 25n * USDT]],
  );
  const past = await client.balance(undefined, { slot: movements[1].slot });
  assert.equal(past.balance, 25n * USDT);
  await assert.rejects(client.withdraw(100n * USDT), {
    name: "Problem",
    status: 422,
    code: "program_error",
  });
  const delegate = (await walletWithTokens()).address;
  await client.finish(await client.addDelegate(delegate));
  await client.finish(await client.removeDelegate(delegate));
  assert.deepEqual((await client.config()).delegates, []);
});

test("a client without a wallet reads, and says what it lacks", { timeout }, async () => {
  const client = new Client(url);
  assert.equal(typeof (await client.tvl()).total, "bigint");
  await assert.rejects(client.deposit(1n), /needs a wallet/);
  const stranger = await keypairWallet(new Uint8Array(32).fill(1));
  await assert.rejects(client.vault(stranger.address), { code: "vault_not_found" });
});

test("missed events follow a lost connection, once and in order", { timeout }, async () => {
  const wallet = await walletWithTokens();
  const client = new Client(url, { wallet });
  await client.finish(await client.openVault());
  const between = await gate();
  const stream = new Client(between.url).stream({ name: "deposit_event", owner: wallet.address });
  try {
    const [snapshot] = await take(stream, 1);
    assert.deepEqual([snapshot.type, snapshot.reset], ["snapshot", false]);
    await client.finish(await client.deposit(1n));
    const [first] = await take(stream, 1);
    assert.equal(first.data.amount, 1n);
    for (const amount of [2n, 3n]) {
      between.state.open = false;
      between.cut();
      await client.finish(await client.deposit(amount));
      between.state.open = true;
      const [missed] = await take(stream, 1);
      assert.deepEqual([missed.type, missed.data.amount], ["event", amount]);
    }
    assert.ok(between.state.connections >= 3);
    const resumed = client.stream({ name: "deposit_event", owner: wallet.address, since: first.seq });
    const amounts = (await take(resumed, 2)).map(({ data }) => data.amount);
    assert.deepEqual(amounts, [2n, 3n]);
    resumed.close();
  } finally {
    stream.close();
    between.close();
  }
});

test("a stream that cannot resume starts over with a reset", { timeout }, async () => {
  const stream = new Client(url).stream({ name: "tvl_update", since: 2n ** 60n });
  for await (const message of stream) {
    assert.deepEqual([message.type, message.reset], ["snapshot", true]);
    break;
  }
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("a refused topic is an error each time", { timeout }, async () => {
  const stream = new Client(url).stream({ name: "weather" });
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await assert.rejects(stream.next(), { name: "SubscriptionRefused", topic: "weather" });
  }
});
