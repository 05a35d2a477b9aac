// This client is what the vectors in clients/vectors say, as is the Python client.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Client, keypairWallet, Problem, StreamCursors } from "cvms-client";
import { build } from "esbuild";
import { isInteger, parse } from "lossless-json";

const folder = process.env.CVMS_VECTORS ?? new URL("../../vectors", import.meta.url).pathname;
const parseNumber = (text) => (isInteger(text) ? BigInt(text) : Number(text));
const exact = (text) => parse(text, undefined, { parseNumber });
const read = (name) => exact(readFileSync(`${folder}/${name}`, "utf8"));
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

function readFrame(cursors, frame) {
  try {
    return { frame, message: cursors.read(frame) ?? null };
  } catch (error) {
    const kinds = { StreamDesynchronized: "desynchronized", ClientError: "undecodable" };
    const kind = kinds[error.constructor.name];
    if (kind !== undefined) return { frame, error: { kind } };
    assert.equal(error.name, "SubscriptionRefused");
    return { frame, error: { kind: "refused", topic: error.topic ?? null, code: error.code } };
  }
}

for (const vector of [...read("stream_cases.json"), read("stream_recorded.json")]) {
  test(`a stream: ${vector.name}`, () => {
    const cursors = new StreamCursors(vector.topics);
    for (const { requests, frames } of vector.connections) {
      assert.deepEqual(cursors.requests().map(exact), requests);
      const seen = frames.map(({ frame }) => readFrame(cursors, frame));
      assert.deepEqual(seen, frames.map((each) => ({ ...each })));
    }
  });
}

test("the movements that the example page keeps are as recorded", async () => {
  const path = new URL("../example/movements.ts", import.meta.url).pathname;
  const { outputFiles } = await build({ entryPoints: [path], write: false, format: "esm" });
  const code = Buffer.from(outputFiles[0].contents).toString("base64");
  const { apply } = await import(`data:text/javascript;base64,${code}`);
  const { topic, connections } = read("movements.json");
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

test("each method sends the recorded request", async () => {
  const { seed, nonce, calls } = read("requests.json");
  const wallet = await keypairWallet(Buffer.from(seed, "hex"));
  for (const { method, arguments: given, options, requests } of calls) {
    const sent = [];
    const fetch = async (url, init) => {
      const { pathname, searchParams } = new URL(url);
      const headers = new Headers(init.headers);
      sent.push({
        method: init.method,
        path: pathname,
        query: Object.fromEntries(searchParams),
        body: init.body === undefined ? null : exact(init.body),
        code: headers.get("x-2fa-code"),
        has_key: /^[\w-]{24}$/.test(headers.get("idempotency-key") ?? ""),
      });
      if (pathname === "/api/auth/nonce") return Response.json({ nonce });
      return Response.json({ code: "vault_not_found", detail: "none" }, { status: 404 });
    };
    const client = new Client("http://cvms.example", { wallet, fetch });
    const named = Object.entries(options).map(([name, value]) => [camel(name), value]);
    const call = client[camel(method)](...given, Object.fromEntries(named));
    await call.catch((error) => assert.equal(error.code, "vault_not_found", String(error)));
    assert.deepEqual(sent, requests, method);
  }
});

test("a transaction is signed as recorded", async () => {
  const { seed, address, signed, refused } = read("transactions.json");
  const wallet = await keypairWallet(Buffer.from(seed, "hex"));
  assert.equal(wallet.address, address);
  for (const each of signed) assert.equal(await wallet.cosign(each.unsigned), each.signed);
  await assert.rejects(wallet.cosign(refused), /does not need the signature/);
  await assert.rejects(wallet.cosign("AQ=="), /ends too early/);
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
