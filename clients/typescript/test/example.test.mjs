// The example page in Chromium: a test wallet opens a vault, deposits, withdraws and sees it live.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { build } from "esbuild";
import { openBrowser } from "./browser.mjs";
import { exact } from "./replay.mjs";
import { gate, mint, rpcUrl } from "./surroundings.mjs";

const pageUrl = process.env.CVMS_PAGE_URL;

test("this client does the same as the vectors in a browser", { timeout: 60_000 }, async () => {
  const entry = new URL("replay.mjs", import.meta.url).pathname;
  const bundled = { bundle: true, write: false, format: "iife", globalName: "vectors" };
  const { outputFiles } = await build({ entryPoints: [entry], ...bundled, platform: "browser" });
  const browser = await openBrowser();
  try {
    const page = await browser.newPage();
    await page.goto(pageUrl);
    await page.addScriptTag({ content: outputFiles[0].text });
    const folder = process.env.CVMS_VECTORS;
    for (const name of ["stream_cases", "stream_recorded", "requests", "transactions"]) {
      const file = `${name}.json`;
      const text = readFileSync(`${folder}/${file}`, "utf8");
      const run = ([given, content]) => globalThis.vectors.replayText(given, content);
      assert.deepEqual(exact(await page.evaluate(run, [file, text])), exact(text), file);
    }
  } finally {
    await browser.close();
  }
});

test("a vault is opened, filled and emptied on the page", { timeout: 90_000 }, async () => {
  const between = await gate();
  const browser = await openBrowser();
  try {
    const page = await browser.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(`${pageUrl}/?${new URLSearchParams({ service: between.url, rpc: rpcUrl, mint })}`);
    const press = async (name) => {
      await page.getByRole("button", { name, exact: true }).click();
      await page.getByRole("status").getByText(/: /).waitFor();
      assert.equal(await page.getByRole("status").textContent(), `${name}: done`);
    };
    const shows = (id, text) => page.locator(`#${id}`).getByText(text, { exact: true }).waitFor();

    await page.getByRole("combobox").selectOption("Test wallet");
    await page.getByRole("button", { name: "Connect" }).click();
    await page.locator("#address").getByText(/^[1-9A-HJ-NP-Za-km-z]{32,44}$/).waitFor();
    await press("Get test tokens");
    await press("Open the vault");
    await page.getByLabel("Amount in USDT").fill("25.5");
    await press("Deposit");
    await shows("available", "25.500000");
    between.cut(); // the live balances go on
    await page.getByLabel("Amount in USDT").fill("5");
    await press("Withdraw");
    await shows("balance", "20.500000");
    const movements = ["withdraw 5.000000", "deposit 25.500000"];
    const showsMovements = async () => {
      for (const text of movements) await shows("movements", text); // each topic comes by itself
      assert.deepEqual(await page.locator("#movements li").allTextContents(), movements);
    };
    await showsMovements();

    await page.getByLabel("Amount in USDT").fill("100");
    await page.getByRole("button", { name: "Withdraw" }).click();
    await page.getByRole("status").getByText("Withdraw: 422 program_error").waitFor();

    // Another page of the same wallet finds what is there, and follows what the first one does.
    await page.reload();
    await page.getByRole("button", { name: "Connect" }).click();
    await shows("balance", "20.500000");
    await showsMovements();
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
    between.close();
  }
});
