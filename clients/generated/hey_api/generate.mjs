// Generates the client of @hey-api/openapi-ts with zod: generate.mjs DOCUMENT FOLDER
import { createClient } from "@hey-api/openapi-ts";

const [input, output] = process.argv.slice(2);
await createClient({
  input,
  output,
  logs: { level: "silent" },
  plugins: [
    "@hey-api/client-fetch",
    "zod",
    { name: "@hey-api/transformers", bigInt: true, dates: true },
    { name: "@hey-api/sdk", validator: "zod", transformer: "@hey-api/transformers" },
  ],
});
