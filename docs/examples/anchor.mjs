// A stock Anchor client of the programs. Only the IDLs come from the service.
//
//   npm install @coral-xyz/anchor @solana/web3.js      (Node 20; anchor 0.32.1, web3.js 1.99.0)
//   node docs/examples/anchor.mjs                      (beside a running `make dev`)
//
// SERVICE_URL, RPC_URL and USDT_MINT override the defaults of `make dev`. On another cluster only
// the funding of the wallet, a cheat of the local chain, would be different.
import anchor from "@coral-xyz/anchor";
import { Connection, Keypair, PublicKey, SYSVAR_INSTRUCTIONS_PUBKEY } from "@solana/web3.js";

const { AnchorProvider, BN, Program, Wallet, utils } = anchor;
const service = process.env.SERVICE_URL ?? "http://127.0.0.1:8080";
const rpc = process.env.RPC_URL ?? "http://127.0.0.1:8899";
const mint = new PublicKey(process.env.USDT_MINT ?? "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ");

const connection = new Connection(rpc, "confirmed");
const wallet = Keypair.generate();
const owner = wallet.publicKey;
const provider = new AnchorProvider(connection, new Wallet(wallet), { commitment: "confirmed" });
const program = async (name) =>
  new Program(await (await fetch(`${service}/api/idl/${name}`)).json(), provider);
const vaults = await program("collateral_vault");
const positions = await program("position_manager");

const derive = (programId, ...seeds) => PublicKey.findProgramAddressSync(seeds, programId)[0];
const tokens = (of) => utils.token.associatedAddress({ mint, owner: of });
const vault = derive(vaults.programId, Buffer.from("vault"), owner.toBuffer());
const vaultAuthority = derive(vaults.programId, Buffer.from("vault_authority"));
const summary = derive(positions.programId, Buffer.from("position_summary"), vault.toBuffer());

const airdrop = await connection.requestAirdrop(owner, 2_000_000_000);
await connection.confirmTransaction(airdrop, "confirmed");
const cheat = { jsonrpc: "2.0", id: 1, method: "surfnet_setTokenAccount" };
const params = [owner.toBase58(), mint.toBase58(), { amount: 1_000_000_000 }];
const headers = { "content-type": "application/json" };
await fetch(rpc, { method: "POST", headers, body: JSON.stringify({ ...cheat, params }) });

// Sends the transaction and prints the vault program's events. Anchor's own EventParser would omit
// those of inner calls, such as the lock that the position manager makes.
async function run(name, builder) {
  const signature = await builder.rpc();
  const how = { commitment: "confirmed", maxSupportedTransactionVersion: 0 };
  const { meta } = await connection.getTransaction(signature, how);
  console.log(`${name}: ${signature}`);
  for (const line of meta.logMessages.filter((each) => each.startsWith("Program data: "))) {
    const event = vaults.coder.events.decode(line.slice("Program data: ".length));
    const fields = Object.entries(event.data).map(([key, value]) => `${key} ${shown(value)}`);
    console.log(`  ${event.name}: ${fields.join(", ")}`);
  }
}

// Formats keys, amounts and times as strings, and an enum variant as its name.
function shown(value) {
  return value.constructor === Object ? Object.keys(value)[0] : value.toString();
}

await run(
  "initializeVault",
  vaults.methods
    .initializeVault()
    .accounts({ user: owner, vault, vaultTokenAccount: tokens(vault), usdtMint: mint }),
);
await run(
  "deposit",
  vaults.methods.deposit(new BN(500_000_000)).accounts({
    authority: owner,
    owner,
    vault,
    userTokenAccount: tokens(owner),
    vaultTokenAccount: tokens(vault),
  }),
);
await run(
  "initPositionSummary",
  positions.methods
    .initPositionSummary()
    .accounts({ payer: owner, vault, positionSummary: summary }),
);
const position = {
  callerProgram: positions.programId,
  vaultAuthority,
  instructions: SYSVAR_INSTRUCTIONS_PUBKEY,
  vault,
  positionSummary: summary,
  collateralVaultProgram: vaults.programId,
  authority: owner,
};
const locked = new BN(200_000_000);
await run("openPosition", positions.methods.openPosition(locked).accountsPartial(position));

// The named accounts are followed by the position summary of each authorized program, in order.
const withdrawal = vaults.methods
  .withdraw(new BN(100_000_000))
  .accounts({
    authority: owner,
    owner,
    vault,
    vaultAuthority,
    vaultTokenAccount: tokens(vault),
    userTokenAccount: tokens(owner),
  })
  .remainingAccounts([{ pubkey: summary, isWritable: false, isSigner: false }]);
try {
  await withdrawal.rpc();
} catch (error) {
  console.log(`withdraw is refused: ${error.message}`);
}
await run("closePosition", positions.methods.closePosition(locked).accountsPartial(position));
await run("withdraw", withdrawal);

const state = await vaults.account.collateralVault.fetch(vault);
console.log(`the vault holds ${state.totalBalance} of which ${state.availableBalance} available`);
