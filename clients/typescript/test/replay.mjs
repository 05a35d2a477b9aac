// What this client makes of the vectors in clients/vectors, in Node and in browsers.
import { Client, keypairWallet, StreamCursors } from "cvms-client";
import { isInteger, parse, stringify } from "lossless-json";

const parseNumber = (text) => (isInteger(text) ? BigInt(text) : Number(text));
const camel = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());
const fromHex = (text) => Uint8Array.from(text.match(/../g), (byte) => parseInt(byte, 16));

/** Parse JSON, with integers as bigint. */
export const exact = (text) => parse(text, undefined, { parseNumber });

/** Return the file's vectors as this client reproduces them, given the file's name and text. */
export async function replay(name, text) {
  const file = exact(text);
  if (name === "stream_cases.json") return file.map(replayStream);
  if (name === "stream_recorded.json") return replayStream(file);
  if (name === "requests.json") return await replayRequests(file);
  if (name === "transactions.json") return await replayTransactions(file);
  throw new Error(`no vectors of this name: ${name}`);
}

/** For where a value must be text. */
export const replayText = async (name, text) => stringify(await replay(name, text));

function replayStream(vector) {
  const cursors = new StreamCursors(vector.topics);
  const connections = vector.connections.map(({ frames }) => ({
    requests: cursors.requests().map(exact),
    frames: frames.map(({ frame }) => readFrame(cursors, frame)),
  }));
  return { ...vector, connections };
}

function readFrame(cursors, frame) {
  try {
    return { frame, message: cursors.read(frame) ?? null };
  } catch (error) {
    if (error.code !== undefined) {
      return { frame, error: { kind: "refused", topic: error.topic ?? null, code: error.code } };
    }
    const decoded = error.message.startsWith("cannot decode") || error.message.startsWith("not JSON");
    return { frame, error: { kind: decoded ? "undecodable" : "desynchronized" } };
  }
}

async function replayRequests(file) {
  const wallet = await keypairWallet(fromHex(file.seed));
  const calls = [];
  for (const { method, arguments: given, options, requests: recorded } of file.calls) {
    const requests = [];
    const message = recorded.find(({ path }) => path === "/api/auth/nonce")?.message;
    const fetch = async (url, init) => {
      const { pathname, searchParams } = new URL(url);
      const headers = new Headers(init.headers);
      requests.push({
        method: init.method,
        path: pathname,
        query: Object.fromEntries(searchParams),
        body: init.body === undefined ? null : exact(init.body),
        code: headers.get("x-2fa-code"),
        has_key: /^[\w-]{24}$/.test(headers.get("idempotency-key") ?? ""),
      });
      if (pathname === "/api/auth/nonce") {
        requests.at(-1).message = message;
        return Response.json({ nonce: file.nonce, message });
      }
      return Response.json({ code: "vault_not_found", detail: "none" }, { status: 404 });
    };
    const client = new Client("http://cvms.example", { wallet, fetch });
    const named = Object.fromEntries(Object.entries(options).map(([key, value]) => [camel(key), value]));
    try {
      await client[camel(method)](...given, named);
    } catch (error) {
      if (error.code !== "vault_not_found") throw error;
    }
    calls.push({ method, arguments: given, options, requests });
  }
  return { ...file, calls };
}

async function replayTransactions(file) {
  const wallet = await keypairWallet(fromHex(file.seed));
  const signed = [];
  for (const { unsigned } of file.signed) {
    signed.push({ unsigned, signed: await wallet.cosign(unsigned) });
  }
  try {
    await wallet.cosign(file.refused);
  } catch (error) {
    if (!error.message.includes("does not need the signature")) throw error;
    return { ...file, address: wallet.address, signed };
  }
  throw new Error("signed a transaction of others");
}
