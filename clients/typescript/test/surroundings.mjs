// What the tests need around a client: SOL and tokens of the local chain, and a breakable connection.
import { createServer, connect } from "node:net";

export const { CVMS_URL: url, CVMS_RPC_URL: rpcUrl, CVMS_MINT: mint } = process.env;
export const USDT = 1_000_000n;

export async function rpc(method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const headers = { "Content-Type": "application/json" };
  const reply = await (await fetch(rpcUrl, { method: "POST", headers, body })).json();
  if (reply.error) throw new Error(`${method}: ${reply.error.message}`);
  return reply.result;
}

/** Give a wallet 2 SOL and tokens. */
export async function fund(address, tokens = 5_000n * USDT) {
  await rpc("requestAirdrop", address, 2_000_000_000);
  await rpc("surfnet_setTokenAccount", address, mint, { amount: Number(tokens) });
  while ((await rpc("getBalance", address, { commitment: "confirmed" })).value === 0);
}

/** Forward connections to the service, until they are cut. */
export async function gate() {
  const { hostname, port } = new URL(url);
  const sockets = new Set();
  const state = { open: true, connections: 0 };
  const server = createServer((client) => {
    state.connections += 1;
    if (!state.open) return client.destroy();
    const service = connect(Number(port), hostname);
    for (const [socket, other] of [[client, service], [service, client]]) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    state,
    url: `http://127.0.0.1:${server.address().port}`,
    cut: () => sockets.forEach((socket) => socket.destroy()),
    close: () => {
      server.close();
      sockets.forEach((socket) => socket.destroy());
    },
  };
}
