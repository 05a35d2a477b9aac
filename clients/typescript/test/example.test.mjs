// The example page in Chromium: a test wallet opens a vault, deposits, withdraws and sees it live.
import assert from "node:assert/strict";
import { test } from "node:test";
import { chromium } from "playwright-core";
import { mint, rpcUrl, url } from "./surroundings.mjs";

const { CVMS_PAGE_URL: pageUrl, CVMS_CHROMIUM: executablePath } = process.env;
const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

test("a vault is opened, filled and emptied on the page", { timeout: 90_000 }, async () => {
  const browser = await chromium.launch({ executablePath, args });
  try {
    const page = await browser.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(String(error)));
    await page.goto(`${pageUrl}/?${new URLSearchParams({ service: url, rpc: rpcUrl, mint })}`);
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
    await page.getByLabel("Amount in USDT").fill("5");
    await press("Withdraw");
    await shows("balance", "20.500000");
    await shows("movements", "withdraw 5.000000");
    const movements = await page.locator("#movements li").allTextContents();
    assert.deepEqual(movements, ["withdraw 5.000000", "deposit 25.500000"]);

    await page.getByLabel("Amount in USDT").fill("100");
    await page.getByRole("button", { name: "Withdraw" }).click();
    await page.getByRole("status").getByText("Withdraw: 422 program_error").waitFor();

    // Another page of the same wallet finds what is there, and follows what the first one does.
    await page.reload();
    await page.getByRole("button", { name: "Connect" }).click();
    await shows("balance", "20.500000");
    assert.deepEqual(await page.locator("#movements li").allTextContents(), movements);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
  }
});
