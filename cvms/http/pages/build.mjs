// Build the pages in the folder that is given, or, with --check, compare what is there.
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";

import { build } from "esbuild";
import { Marked } from "marked";

const RUNBOOKS = "../../../docs/runbooks";
const IDL = "../../chain/program/idl/collateral_vault.json";
// Of each page, what its first load has, and how many bytes that may be.
const LOADED = {
  console: { files: ["index.html", "console.js", "console.css", "icon.svg"], most: 200_000 },
  owners: { files: ["owners.html", "owners.js", "owners.css", "icon.svg"], most: 200_000 },
  verify: { files: ["verify.html", "verify.js", "verify.css", "icon.svg"], most: 100_000 },
};
const OPTIONS = {
  outdir: "out",
  bundle: true,
  minify: true,
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  write: false,
};

const { values, positionals } = parseArgs({
  options: { check: { type: "boolean", default: false } },
  allowPositionals: true,
});
const folder = positionals[0] ?? "dist";
const files = await built();
checkSize(files);
await (values.check ? compare(files) : write(files));

async function built() {
  const modules = await build({
    ...OPTIONS,
    format: "esm",
    entryPoints: {
      console: "src/main.tsx",
      "console-style": "src/console.css",
      owners: "src/owners/main.tsx",
      "owners-style": "src/owners/owners.css",
    },
    plugins: [{ name: "idl", setup: addInstructions }],
  });
  // Browsers load no modules from disk, where this page has to work, too.
  const script = await build({
    ...OPTIONS,
    format: "iife",
    entryPoints: { verify: "src/verify/main.tsx", "verify-style": "src/verify/verify.css" },
  });
  const made = new Map([...modules.outputFiles, ...script.outputFiles].map(({ path, contents }) => [basename(path), contents]));
  return new Map([
    ["index.html", await readFile("src/index.html")],
    ["icon.svg", await readFile("src/icon.svg")],
    ["console.js", made.get("console.js")],
    ["console.css", made.get("console-style.css")],
    ["owners.html", await readFile("src/owners/index.html")],
    ["owners.js", made.get("owners.js")],
    ["owners.css", made.get("owners-style.css")],
    ["verify.html", await readFile("src/verify/index.html")],
    ["verify.js", made.get("verify.js")],
    ["verify.css", made.get("verify-style.css")],
    ["runbooks.json", Buffer.from(`${JSON.stringify(await runbooks(), null, 1)}\n`)],
  ]);
}

/** Let the pages import the vault program's instructions, by their discriminators in hexadecimal. */
function addInstructions({ onResolve, onLoad }) {
  onResolve({ filter: /^vault:instructions$/ }, ({ path }) => ({ path, namespace: "idl" }));
  onLoad({ filter: /.*/, namespace: "idl" }, async () => {
    const { instructions } = JSON.parse(await readFile(IDL, "utf8"));
    const found = instructions.map(({ name, discriminator, accounts, args }) => [
      Buffer.from(discriminator).toString("hex"),
      { name, accounts: accounts.map((each) => each.name), args: args.map((each) => [each.name, each.type]) },
    ]);
    return { contents: JSON.stringify(Object.fromEntries(found)), loader: "json" };
  });
}

/** Return the runbooks: `name`, as in URLs, `title` and `html`. There may be none yet. */
async function runbooks() {
  const names = await readdir(RUNBOOKS).catch(() => []);
  const pages = names.filter((name) => name.endsWith(".md") && name !== "README.md").sort();
  return Promise.all(
    pages.map(async (page) => {
      const text = await readFile(join(RUNBOOKS, page), "utf8");
      const [, title = basename(page, ".md")] = /^# (.+)$/m.exec(text) ?? [];
      const html = scrolling(markdown(pages).parse(text.replace(/^# .+$/m, ""), { async: false }));
      const name = basename(page, ".md").replaceAll("_", "-");
      return { name, title: title.replaceAll("`", ""), html };
    }),
  );
}

/** Return a reader of markdown without HTML of its own, whose links lead to runbooks or outside. */
function markdown(pages) {
  const reader = new Marked();
  reader.use({
    renderer: {
      html: ({ text }) => escaped(text),
      image: ({ text }) => escaped(text),
      link({ href, tokens }) {
        const label = this.parser.parseInline(tokens);
        if (/^https?:/.test(href)) return `<a href="${escaped(href)}" rel="noreferrer">${label}</a>`;
        const [file] = href.split("#");
        const name = basename(file, ".md").replaceAll("_", "-");
        if (pages.includes(file)) return `<a href="../runbooks/${escaped(name)}">${label}</a>`;
        return `${label} (<code>${escaped(href.replace(/^(\.\.\/)+/, "docs/"))}</code>)`;
      },
      code: ({ text }) => `<pre tabindex="0"><code>${escaped(text)}</code></pre>\n`,
    },
  });
  return reader;
}

/** Let wide tables scroll, and the keyboard reach them. */
function scrolling(html) {
  return html
    .replaceAll("<table>", '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>')
    .replaceAll("</table>", "</table></div>");
}

function escaped(text) {
  const names = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (each) => names[each]);
}

function checkSize(files) {
  for (const [page, { files: names, most }] of Object.entries(LOADED)) {
    const bytes = names.reduce((sum, name) => sum + files.get(name).length, 0);
    if (bytes >= most) fail(`the first load of ${page} has ${bytes} bytes, and may have ${most}`);
  }
}

async function write(files) {
  await mkdir(folder, { recursive: true });
  for (const [name, content] of files) await writeFile(join(folder, name), content);
}

async function compare(files) {
  const there = new Set(await readdir(folder).catch(() => []));
  for (const [name, content] of files) {
    const same = there.delete(name) && (await readFile(join(folder, name))).equals(content);
    if (!same) fail(`${join(folder, name)} is not what its sources say: run make pages`);
  }
  if (there.size > 0) fail(`nothing builds ${[...there].join(", ")} in ${folder}: remove it`);
}

function fail(text) {
  console.error(text);
  process.exit(1);
}
