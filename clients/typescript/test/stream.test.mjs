// What a stream does with connections that refuse, stall, or are faster than their reader.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Stream } from "cvms-client";

/** Sockets whose server is the test. */
function sockets() {
  const opened = [];
  const openSocket = async () => {
    const socket = {
      sent: [],
      closed: false,
      send: (text) => socket.sent.push(JSON.parse(text)),
      close: () => (socket.closed = true),
      receive: (frame) => socket.onmessage?.({ data: JSON.stringify(frame) }),
    };
    opened.push(socket);
    return socket;
  };
  return { opened, openSocket };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));
const subscribed = (seq) => ({ type: "subscribed", topic: "t", owner: null, seq, snapshot: null });
const event = (seq) => ({
  type: "event", topic: "t", seq, slot: seq, signature: null, commitment: "confirmed", data: {},
});

async function connected(topics = [{ name: "t" }]) {
  const { opened, openSocket } = sockets();
  const slots = [];
  const stream = new Stream("ws://cvms.example/ws", topics, (slot) => slots.push(slot), openSocket);
  const first = stream.next();
  await settled();
  opened[0].receive({ type: "connected" });
  opened[0].receive(subscribed(0));
  assert.equal((await first).value.type, "snapshot");
  return { stream, opened, slots };
}

test("a silent connection is asked, and then given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { stream, opened } = await connected();
    const [socket] = opened;
    const pings = () => socket.sent.filter(({ op }) => op === "ping").length;
    mock.timers.tick(13_000);
    assert.equal(pings(), 0);
    mock.timers.tick(13_000);
    assert.equal(pings(), 1);
    socket.receive({ type: "pong" });
    mock.timers.tick(13_000);
    assert.deepEqual([pings(), socket.closed], [1, false]);
    mock.timers.tick(13_000);
    assert.equal(pings(), 2);
    mock.timers.tick(13_000);
    await settled();
    assert.equal(socket.closed, true);
    mock.timers.tick(200);
    await settled();
    assert.equal(opened.length, 2);
    stream.close();
  } finally {
    mock.timers.reset();
  }
});

test("a connection that does not greet is given up", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const { opened, openSocket } = sockets();
    const stream = new Stream("ws://cvms.example/ws", [{ name: "t" }], () => {}, openSocket);
    const first = stream.next();
    await settled();
    mock.timers.tick(10_000);
    await settled();
    assert.deepEqual([opened[0].closed, opened[0].sent], [true, []]);
    mock.timers.tick(200);
    await settled();
    assert.equal(opened.length, 2);
    stream.close();
    assert.deepEqual(await first, { done: true, value: undefined });
  } finally {
    mock.timers.reset();
  }
});

test("a reader that is too slow loses nothing", async () => {
  const { stream, opened, slots } = await connected();
  for (let seq = 1; seq <= 2_500; seq += 1) opened[0].receive(event(seq));
  await settled();
  assert.equal(opened[0].closed, true);
  assert.equal(opened.length, 1, "it waits for its reader");
  for (let seq = 1n; seq <= 2_000n; seq += 1n) assert.equal((await stream.next()).value.seq, seq);
  assert.equal(slots.at(-1), 2_000n);
  const more = stream.next();
  await settled();
  opened[1].receive({ type: "connected" });
  assert.deepEqual(opened[1].sent, [{ op: "subscribe", topic: "t", since: 2_000 }]);
  opened[1].receive(subscribed(2_000));
  opened[1].receive(event(2_001));
  assert.equal((await more).value.seq, 2_001n);
  stream.close();
  await settled();
  assert.equal(opened[1].closed, true);
});

test("many subscriptions are made at a pace that the service accepts", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  try {
    const topics = Array.from({ length: 60 }, (_, index) => ({ name: `t${index}` }));
    const { opened, openSocket } = sockets();
    const stream = new Stream("ws://cvms.example/ws", topics, () => {}, openSocket);
    const first = stream.next();
    await settled();
    const [socket] = opened;
    socket.receive({ type: "connected" });
    const paces = [socket.sent.length];
    for (let second = 0; second < 3; second += 1) {
      mock.timers.tick(1_000);
      paces.push(socket.sent.length);
    }
    assert.deepEqual(paces, [25, 50, 60, 60]);
    stream.close();
    await first;
  } finally {
    mock.timers.reset();
  }
});

test("a frame that cannot be decoded ends the stream, and a lost connection does not", async () => {
  const { stream, opened } = await connected();
  const next = stream.next();
  opened[0].receive(event(1));
  assert.equal((await next).value.seq, 1n);
  opened[0].receive({ type: "event" });
  await assert.rejects(stream.next(), { name: "ClientError" });
  await assert.rejects(stream.next(), { name: "ClientError" });
  assert.equal(opened.length, 1);
});
