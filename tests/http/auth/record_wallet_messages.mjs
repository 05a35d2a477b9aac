// Records wallet_messages.json: what wallets' own libraries give a wallet to sign for one text.
//
//   npm install --legacy-peer-deps @solana/kit @solana/web3.js@1 @solana/spl-memo \
//     @ledgerhq/device-signer-kit-solana @ledgerhq/device-management-kit rxjs
//   node record_wallet_messages.mjs > wallet_messages.json
import { createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import * as kit from "@solana/kit";
import * as web3 from "@solana/web3.js";
import { createMemoInstruction } from "@solana/spl-memo";

const require = createRequire(import.meta.url);
const LEDGER = "@ledgerhq/device-signer-kit-solana";
const ledgerFile = "lib/cjs/internal/app-binder/services/OffchainMessageBuilder.js";
const { OffchainMessageBuilder } = require(`./node_modules/${LEDGER}/${ledgerFile}`);

const seed = Buffer.alloc(32, 7);
const key = createPrivateKey({
  key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]),
  format: "der",
  type: "pkcs8",
});
const signer = web3.Keypair.fromSeed(seed).publicKey;
const nonce = "0123456789abcdef0123456789abcdef0123456789abcdef";
const text = `withdraw:${signer}:400:${nonce}`;
const signIn = [
  "app.example wants you to sign in with your Solana account:",
  `${signer}`,
  "",
  text,
  "",
  "URI: https://app.example/vault",
  "Version: 1",
  "Chain ID: mainnet",
  `Nonce: ${nonce}`,
  "Issued At: 2027-01-31T11:59:00.000Z",
  "Expiration Time: 2027-01-31T12:05:00.000Z",
].join("\n");

const version = (name) =>
  JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const vectors = [];
const add = (form, library, bytes) =>
  vectors.push({
    form,
    source: `${library} ${version(library)}`,
    message: Buffer.from(bytes).toString("base64"),
    signature: sign(null, Buffer.from(bytes), key).toString("base64"),
  });

const utf8 = new TextEncoder();
for (const [name, content] of [["text", text], ["sign-in", signIn]]) {
  add(`${name}, bare`, "@solana/kit", utf8.encode(content));
  const ledger = new OffchainMessageBuilder();
  const raw = utf8.encode(content);
  add(`${name}, Ledger short v0`, LEDGER, ledger.buildLegacy(raw));
  add(`${name}, Ledger v0`, LEDGER, ledger.buildV0(raw, signer.toBytes()));
  const named = new OffchainMessageBuilder("app.example");
  add(`${name}, Ledger v0 for an application`, LEDGER, named.buildV0(raw, signer.toBytes()));
  add(`${name}, Ledger v1`, LEDGER, ledger.buildV1(raw, [signer.toBytes()]));
  const requiredSignatories = [{ address: kit.address(signer.toBase58()) }];
  const format = name === "text" ? "RESTRICTED_ASCII_1232_BYTES_MAX" : "UTF8_1232_BYTES_MAX";
  add(`${name}, v0`, "@solana/kit", kit.getOffchainMessageEncoder().encode({
    version: 0,
    applicationDomain: kit.offchainMessageApplicationDomain(signer.toBase58()),
    requiredSignatories,
    content: { format: kit.OffchainMessageContentFormat[format], text: content },
  }));
  add(`${name}, v1`, "@solana/kit", kit.getOffchainMessageEncoder().encode({
    version: 1,
    requiredSignatories,
    content,
  }));
}

const memoV1 = new web3.PublicKey("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo");
const memoOf = (signers, programId) => {
  const memo = createMemoInstruction(text, signers);
  return programId ? new web3.TransactionInstruction({ ...memo, programId }) : memo;
};
for (const [name, memo] of [
  ["memo", memoOf([])],
  ["memo with its signer", memoOf([signer])],
  ["memo v1", memoOf([], memoV1)],
]) {
  const recentBlockhash = web3.PublicKey.default.toBase58();
  const legacy = new web3.Transaction({ feePayer: signer, recentBlockhash }).add(memo);
  add(`legacy transaction, ${name}`, "@solana/web3.js", legacy.serializeMessage());
  const v0 = new web3.TransactionMessage({
    payerKey: signer,
    recentBlockhash,
    instructions: [memo],
  }).compileToV0Message();
  add(`v0 transaction, ${name}`, "@solana/web3.js", v0.serialize());
}

console.log(JSON.stringify({ signer: signer.toBase58(), nonce, text, sign_in: signIn, vectors }, null, 2));
