// Builds a deposit from the IDL alone, naming no account but the owner: deposit.mjs IDL LOGS
// Prints the instruction, and the events that the vault program logged when another called it.
import { readFileSync } from "node:fs";
import anchor from "@coral-xyz/anchor";

const { AnchorProvider, BN, BorshCoder, EventParser, Program, Wallet, web3 } = anchor;
const [idl, logs] = process.argv.slice(2).map((path) => JSON.parse(readFileSync(path, "utf8")));
const signer = web3.Keypair.fromSeed(Buffer.from(process.env.WALLET_SEED, "hex"));
const provider = new AnchorProvider(new web3.Connection(process.env.RPC_URL), new Wallet(signer));
const program = new Program(idl, provider);

const built = await program.methods
  .deposit(new BN(process.env.AMOUNT))
  .accounts({ owner: signer.publicKey })
  .instruction();
const parser = new EventParser(program.programId, new BorshCoder(idl));
console.log(
  JSON.stringify({
    program_id: built.programId.toBase58(),
    accounts: built.keys.map((key) => ({
      pubkey: key.pubkey.toBase58(),
      is_signer: key.isSigner,
      is_writable: key.isWritable,
    })),
    data: built.data.toString("base64"),
    events: [...parser.parseLogs(logs)].map((event) => event.name),
  }),
);
