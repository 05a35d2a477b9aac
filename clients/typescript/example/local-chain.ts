// Test tokens of a local chain, which has methods that no real chain has.

async function call(rpc: string, method: string, ...params: unknown[]): Promise<unknown> {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const headers = { "Content-Type": "application/json" };
  const reply = await fetch(rpc, { method: "POST", headers, body });
  const { error, result } = (await reply.json()) as { error?: { message: string }; result: unknown };
  if (error !== undefined) throw new Error(`${method}: ${error.message}`);
  return result;
}

/** Give a wallet 2 SOL and 5,000 USDT, and return once it has them. */
export async function fund(rpc: string, mint: string, address: string): Promise<void> {
  const signature = await call(rpc, "requestAirdrop", address, 2_000_000_000);
  await call(rpc, "surfnet_setTokenAccount", address, mint, { amount: 5_000_000_000 });
  while (!(await isConfirmed(rpc, signature))) await new Promise((wake) => setTimeout(wake, 100));
}

async function isConfirmed(rpc: string, signature: unknown): Promise<boolean> {
  const { value } = (await call(rpc, "getSignatureStatuses", [signature])) as {
    value: ({ confirmationStatus: string } | null)[];
  };
  return ["confirmed", "finalized"].includes(value[0]?.confirmationStatus ?? "");
}
