// Generates types with openapi-typescript: generate.mjs DOCUMENT FILE. Amounts are strings.
import { readFileSync, writeFileSync } from "node:fs";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const [input, output] = process.argv.slice(2);
const document = JSON.parse(readFileSync(input, "utf8"));
const text = ts.factory.createKeywordTypeNode(ts.SyntaxKind.StringKeyword);
const nothing = ts.factory.createLiteralTypeNode(ts.factory.createNull());
const ast = await openapiTS(document, {
  transform(schema) {
    if (!schema["x-amount"]) return undefined;
    return schema.type.includes("null") && schema.type !== "null"
      ? ts.factory.createUnionTypeNode([text, nothing])
      : text;
  },
});
writeFileSync(output, astToString(ast));
