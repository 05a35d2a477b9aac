// Test tokens of a local chain, which has methods that no real chain has.

async function call(rpc: string, method: string, ...params: unknown[]): Promise<void> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(rpc, { method: "POST", headers, body });
  const { error } = (await reply.json()) as { error?: { message: string } };
  if (error !== undefined) throw new Error(`${method}: ${error.message}`);
}

/** Give a wallet 2 SOL and 5,000 USDT. */
export async function fund(rpc: string, mint: string, address: string): Promise<void> {
  await call(rpc, "requestAirdrop", address, 2_000_000_000);
  await call(rpc, "surfnet_setTokenAccount", address, mint, { amount: 5_000_000_000 });
}
