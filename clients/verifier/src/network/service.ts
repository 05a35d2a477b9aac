/** What a service publishes with its proofs. */
import { textOf } from "../values/bytes.js";
import { read, Unavailable } from "./fetched.js";

const LARGEST_LOG = 2 ** 28;
const LARGEST_FILE = 2 ** 28;

/** Return the service's copy of the log. Throws Unavailable. */
export async function fetchLog(service: string): Promise<string> {
  const url = `${service}/api/proofs/log`;
  const text = textOf(await published(url, LARGEST_LOG));
  if (text === null) throw new Unavailable(`${url} is no UTF-8`);
  return text;
}

/** Return the file of reserves of an entry. Throws Unavailable. */
export async function fetchReserves(service: string, slot: bigint): Promise<Uint8Array> {
  return await published(`${service}/api/proofs/${slot}/reserves`, LARGEST_FILE);
}

async function published(url: string, largest: number): Promise<Uint8Array> {
  const { status, body } = await read(url, largest);
  if (status !== 200) throw new Unavailable(`${url} answers with status ${status}`);
  return body;
}
