import { addressBytes } from "../../../../../clients/verifier/src/values/addresses.js";
import { textOf } from "../../../../../clients/verifier/src/values/bytes.js";
import type { Given } from "../../../../../clients/verifier/src/verification.js";

const LARGEST = 2 ** 28;
const ADDRESSES = ["key", "program", "mint"] as const;

/** What was chosen or typed cannot be used. The message says what it is, and what to do. */
export class Unusable extends Error {}

/** Read what a form has. Throws Unusable. */
export async function readForm(form: HTMLFormElement): Promise<Given> {
  const data = new FormData(form);
  const files = (name: string) => data.getAll(name).filter((each): each is File => each instanceof File && each.name !== "");
  const [proof] = files("proof");
  if (!proof) throw new Unusable("No proof is chosen. Choose the file proof.json of your vault.");
  const [reserves] = files("reserves");
  return {
    proof: await textIn(proof),
    logs: await Promise.all(files("logs").map(textIn)),
    reserves: reserves && (await bytesIn(reserves)),
    ...Object.fromEntries(ADDRESSES.map((name) => [name, addressIn(name, String(data.get(name)).trim())])),
  };
}

function addressIn(name: string, typed: string): string | undefined {
  if (typed !== "" && addressBytes(typed) === null) {
    throw new Unusable(`The ${name} ${typed} is no address: these are 32 to 44 letters and digits, without 0, O, I and l. Copy it again, or leave it empty.`);
  }
  return typed === "" ? undefined : typed;
}

async function textIn(file: File): Promise<string> {
  const text = textOf(await bytesIn(file));
  if (text === null) throw new Unusable(`${file.name} is no text. Choose the file as the service gave it.`);
  return text;
}

async function bytesIn(file: File): Promise<Uint8Array> {
  if (file.size > LARGEST) throw new Unusable(`${file.name} has ${file.size} bytes, and this page reads ${LARGEST}. Use the command line for it.`);
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new Unusable(`${file.name} can no longer be read: it was moved or changed. Choose it again.`);
  }
}
