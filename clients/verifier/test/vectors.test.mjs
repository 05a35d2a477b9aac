// This verifier finds in each recorded example of docs/proofs/vectors.json what is wrong there, and nothing else.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const { verify } = await import(new URL("verification.js", process.env.CVMS_VERIFIER ?? new URL("../dist/", import.meta.url)));
const file = process.env.CVMS_VECTORS ?? new URL("../../../docs/proofs/vectors.json", import.meta.url);
const { key, program, mint, vectors } = JSON.parse(readFileSync(file, "utf8"));
const lines = (log) => log.map((entry) => `${JSON.stringify(entry)}\n`).join("");

for (const { name, failed, proof, logs, reserves } of vectors) {
  test(`${name}: ${failed ?? "nothing"} fails`, async () => {
    const given = { proof: JSON.stringify(proof), key, program, mint, logs: (logs ?? []).map(lines) };
    if (reserves !== null) given.reserves = new TextEncoder().encode(reserves);
    const checks = await verify(given);
    const found = checks.filter(({ outcome }) => outcome === "failed");
    assert.deepEqual(found.map((check) => check.name), failed === null ? [] : [failed], JSON.stringify(found));
    if (failed === null) {
      const skipped = checks.filter(({ outcome }) => outcome === "not checked").map((check) => check.name);
      const expected = ["chain", "stale", "reserves"];
      if (logs === null) expected.push("fork", "log");
      if (reserves === null) expected.push("reserves_file", "reserves_twice", "reserves_stale", "not_covered", "pool_cannot_pay", "left_out");
      assert.deepEqual(skipped.sort(), expected.sort());
    }
  });
}
