// Writes src/openapi.ts from the service's OpenAPI document: of `CVMS_OPENAPI`, a URL or a file, or
// of `make dev`. Integers are bigint, since amounts and slots may exceed 2^53.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const source = process.env.CVMS_OPENAPI ?? "http://127.0.0.1:8080/openapi.json";

async function read() {
  if (!/^https?:/.test(source)) return await readFile(source, "utf8");
  const reply = await fetch(source);
  if (!reply.ok) throw new Error(`${source} answers ${reply.status}`);
  return await reply.text();
}

const bigint = () => ts.factory.createKeywordTypeNode(ts.SyntaxKind.BigIntKeyword);
const number = () => ts.factory.createKeywordTypeNode(ts.SyntaxKind.NumberKeyword);
const nothing = () => ts.factory.createLiteralTypeNode(ts.factory.createNull());

function transform(schema) {
  if (schema.enum || schema.const !== undefined) return undefined;
  const kinds = [schema.type].flat();
  if (!kinds.includes("integer") && !kinds.includes("number")) return undefined;
  const types = [bigint()]; // a rate of 1 is sent as an integer
  if (kinds.includes("number")) types.push(number());
  if (kinds.includes("null")) types.push(nothing());
  return types.length === 1 ? types[0] : ts.factory.createUnionTypeNode(types);
}

const types = astToString(await openapiTS(JSON.parse(await read()), { transform }));
await writeFile(new URL("../src/openapi.ts", import.meta.url), types);
