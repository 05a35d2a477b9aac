// What a vault held before a transaction is read from events of the vault program alone.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

const dist = process.env.CVMS_VERIFIER ?? new URL("../dist/", import.meta.url);
const { toldOf } = await import(new URL("network/events.js", dist));
const { base58 } = await import(new URL("values/addresses.js", dist));
const [program, other, vault, friend] = [1, 2, 3, 4].map((byte) => base58(new Uint8Array(32).fill(byte)));
const address = (byte) => Buffer.alloc(32, byte);

function event(name, ...fields) {
  const discriminator = createHash("sha256").update(`event:${name}`).digest().subarray(0, 8);
  const parts = fields.map((each) => (typeof each === "bigint" ? Buffer.from(new BigUint64Array([each]).buffer) : each));
  return `Program data: ${Buffer.concat([discriminator, ...parts]).toString("base64")}`;
}

const before = async (lines, of = vault) => (await toldOf(of, lines, program)).map((told) => told.before);
const begin = (id, depth) => `Program ${id} invoke [${depth}]`;
const end = (id) => `Program ${id} success`;
const logged = (...lines) => [begin(program, 1), "Program log: success", ...lines, end(program)];
const [mine, owner] = [address(3), address(9)];

for (const [name, line, expected] of [
  ["a deposit", event("DepositEvent", mine, owner, 5n, 12n, 12n), 7n],
  ["a withdrawal", event("WithdrawEvent", mine, owner, 5n, 12n, 12n), 17n],
  ["an emergency", event("EmergencyWithdrawEvent", mine, owner, owner, 5n, 0n, 0n, 0n), 5n],
  ["a transfer to it", event("TransferEvent", address(4), mine, 5n, 1n, 5n), 0n],
  ["a transfer from it", event("TransferEvent", mine, address(4), 5n, 1n, 5n), 6n],
  ["a compounding", event("YieldCompoundEvent", mine, owner, owner, 5n, 25n, 0n), 20n],
  ["its closing", event("VaultClosedEvent", mine, owner), 0n],
  ["another mint", event("UpdateUsdtMintEvent", mine, owner, owner), 0n],
  ["a deposit of another vault", event("DepositEvent", address(4), owner, 5n, 12n, 12n), undefined],
  ["what changes no total", event("LockEvent", mine, owner, 5n, 12n, 12n), undefined],
]) {
  test(`${name} tells ${expected}`, async () => assert.deepEqual(await before(logged(line)), expected === undefined ? [] : [expected]));
}

test("after its closing, or with another mint, a vault's past is of a mint that nobody tells", async () => {
  const lines = logged(event("LockEvent", mine, owner, 1n, 1n, 1n), event("VaultClosedEvent", mine, owner), event("UpdateUsdtMintEvent", mine, owner, owner));
  assert.deepEqual((await toldOf(vault, lines, program)).map((told) => told.mayEndMint), [true, true]);
});

test("what another program has logged does not count", async () => {
  const forged = event("DepositEvent", mine, owner, 5n, 5n, 5n);
  const first = event("DepositEvent", mine, owner, 5n, 12n, 12n);
  const inside = [begin(other, 2), forged, end(other)];
  const lines = [begin(other, 1), forged, end(other), ...logged(...inside, first, forged)];
  assert.deepEqual(await before(lines), [7n, 0n]);
  assert.deepEqual(await before([begin(other, 1), forged, end(other)]), []);
  const calling = [begin(other, 1), begin(program, 2), first, end(program), forged, end(other)];
  assert.deepEqual(await before(calling), [7n]);
  assert.deepEqual(await before(calling, friend), []);
});

test("logs that are cut off tell nothing", async () => {
  await assert.rejects(before(logged("Log truncated")), /cut off/);
});
