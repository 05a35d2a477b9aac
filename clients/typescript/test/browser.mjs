// Chromium for the tests.
import { chromium } from "playwright-core";

const args = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Open a browser, of which `CVMS_CHROMIUM` is the path. */
export async function openBrowser() {
  return await chromium.launch({ executablePath: process.env.CVMS_CHROMIUM, args });
}
