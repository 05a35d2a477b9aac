// Type-checks the example and bundles it: example/ can then be served by any static file server.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));

execFileSync(at("node_modules/.bin/tsc"), ["-p", at("example")], { stdio: "inherit" });
await build({
  entryPoints: [at("example/page.ts"), at("example/test-wallet.ts")],
  outdir: at("example/dist"),
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  sourcemap: true,
  logLevel: "warning",
});
