// This client is what the vectors in clients/vectors say, as is the Python client.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Client, Problem, standardWallet, StreamCursors } from "cvms-client";
import { build } from "esbuild";
import { stringify } from "lossless-json";
import { exact, replay } from "./replay.mjs";

const folder = process.env.CVMS_VECTORS ?? new URL("../../vectors", import.meta.url).pathname;
// Without prototypes, and without what is undefined.
const plain = (value) => exact(stringify(value));
const ofExample = async (name) => {
  const path = new URL(`../example/${name}`, import.meta.url).pathname;
  const { outputFiles } = await build({ entryPoints: [path], write: false, format: "esm" });
  return await import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
};
const read = (name) => readFileSync(`${folder}/${name}`, "utf8");

for (const name of ["stream_cases", "stream_recorded", "requests", "transactions"]) {
  test(`this client does the same as ${name}.json`, async () => {
    const text = read(`${name}.json`);
    assert.deepEqual(plain(await replay(`${name}.json`, text)), plain(exact(text)));
  });
}

test("the movements that the example page keeps are as recorded", async () => {
  const { apply } = await ofExample("movements.ts");
  const { topic, connections } = exact(read("movements.json"));
  const cursors = new StreamCursors([topic]);
  let known = [];
  for (const connection of connections) {
    cursors.requests();
    for (const { frame, state } of connection) {
      const message = cursors.read(frame);
      if (message !== undefined) known = apply(known, message);
      assert.deepEqual(known.map((each) => [each.signature, each.kind, each.amount]), state);
    }
  }
});

test("test tokens are there once the page says so", async (context) => {
  const { fund } = await ofExample("local-chain.ts");
  const statuses = [null, { confirmationStatus: "processed" }, { confirmationStatus: "confirmed" }];
  context.mock.method(globalThis, "fetch", async (_, { body }) => {
    const { method } = JSON.parse(body);
    if (method === "getSignatureStatuses") return Response.json({ result: { value: [statuses.shift()] } });
    return Response.json({ result: "signature" });
  });
  await fund("http://rpc.example", "mint", "owner");
  assert.deepEqual(statuses, []);
});

test("a request is repeated with the same key, and not before Retry-After", async () => {
  const keys = [];
  const replies = [
    () => Promise.reject(new TypeError("fetch failed")),
    () => Response.json({ code: "overloaded" }, { status: 503, headers: { "Retry-After": "1" } }),
    () => Response.json({ code: "rate_limited" }, { status: 429 }),
    () => Response.json({ mode: "submitted", signature: "s", status: "pending" }, { status: 202 }),
  ];
  const fetch = async (_, init) => {
    keys.push([new Headers(init.headers).get("idempotency-key"), performance.now()]);
    return await replies[keys.length - 1]();
  };
  const client = new Client("http://cvms.example", { fetch });
  const { signature } = await client.releaseTimelocks("owner");
  assert.equal(signature, "s");
  assert.equal(keys.length, 4);
  assert.equal(new Set(keys.map(([key]) => key)).size, 1);
  assert.ok(keys[2][1] - keys[1][1] >= 1000);
});

test("a request without a key is sent once, and others until the time is over", async () => {
  let sent = 0;
  const fetch = async () => {
    sent += 1;
    return Response.json({ code: "overloaded" }, { status: 503 });
  };
  const client = new Client("http://cvms.example", { fetch, patience: 0.5 });
  const unkeyed = client.request("POST", "/api/anything", { body: {} });
  await assert.rejects(unkeyed, (error) => error instanceof Problem && error.status === 503);
  assert.equal(sent, 1);
  await assert.rejects(client.tvl(), { name: "ServiceUnavailable" });
  assert.ok(sent > 2);
});

test("a refusal that waiting does not change is not repeated", async () => {
  let sent = 0;
  const body = { code: "program_error", detail: "no", program_error: { code: 6002, name: "Short" } };
  const fetch = async () => {
    sent += 1;
    return Response.json(body, { status: 422 });
  };
  const client = new Client("http://cvms.example", { fetch });
  await assert.rejects(client.tvl(), { code: "program_error", programError: "Short" });
  assert.equal(sent, 1);
});

test("a wallet that wraps what it signs sends what it has signed", async () => {
  const account = { address: "owner", publicKey: new Uint8Array(32), chains: ["solana:mainnet"] };
  const wrap = (message) => Buffer.concat([Buffer.from("\xffsolana offchain", "latin1"), message]);
  const wallet = (change) => ({
    name: "A wallet",
    accounts: [account],
    features: {
      "solana:signMessage": {
        signMessage: async ({ message }) => [
          { signedMessage: change(message), signature: new Uint8Array(64) },
        ],
      },
      "solana:signTransaction": {
        signTransaction: async ({ transaction, chain }) => [
          { signedTransaction: Buffer.concat([transaction, Buffer.from(chain)]) },
        ],
      },
    },
  });
  const signature = "1".repeat(64);
  const wrapping = standardWallet(wallet(wrap));
  const message = wrap(Buffer.from("text")).toString("base64");
  assert.deepEqual(await wrapping.signText("text"), { signature, message });
  const plain = standardWallet(wallet((message) => message));
  assert.deepEqual(await plain.signText("text"), { signature });
  const signed = Buffer.from(await plain.cosign("AAAA"), "base64");
  assert.equal(signed.subarray(3).toString(), "solana:mainnet");
  assert.throws(() => standardWallet({ ...wallet(wrap), features: {} }), /solana:signMessage/);
  assert.throws(() => standardWallet({ ...wallet(wrap), accounts: [] }), /connect A wallet first/);
});

test("another text than the request's is not signed", async () => {
  const wallet = { address: "owner", signText: () => assert.fail("signed"), cosign: assert.fail };
  const nonce = "n".repeat(48);
  const message = `withdraw:owner:1:thief:${nonce}`;
  const fetch = async () => Response.json({ nonce, message });
  const client = new Client("http://cvms.example", { wallet, fetch });
  await assert.rejects(client.withdraw(1n), { name: "UnexpectedText", text: message });
});
