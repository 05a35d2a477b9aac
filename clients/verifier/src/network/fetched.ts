/** What is read over the network: of bounded size, within a bounded time. */

const SECONDS = 60;

/** Something that could not be read. The message says what, and why. */
export class Unavailable extends Error {}

interface Answer {
  status: number;
  body: Uint8Array;
}

/** Return what a URL answers. Throws Unavailable if it does not answer in time, or says too much. */
export async function read(url: string, largest: number, request: RequestInit = {}): Promise<Answer> {
  const signal = AbortSignal.timeout(SECONDS * 1_000);
  try {
    const answer = await fetch(url, { ...request, signal, redirect: "error" });
    return { status: answer.status, body: await bounded(answer, largest) };
  } catch (fault) {
    if (fault instanceof Unavailable) throw new Unavailable(`${url} ${fault.message}`);
    const cause = fault instanceof Error ? (fault.cause ?? fault) : fault;
    throw new Unavailable(`${url} could not be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}

async function bounded(answer: Response, largest: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = answer.body?.getReader();
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    parts.push(part.value);
    size += part.value.length;
    if (size > largest) {
      await reader?.cancel();
      throw new Unavailable(`answers more than ${largest} bytes`);
    }
  }
  const whole = new Uint8Array(size);
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}
