/** JSON as docs/proofs.md allows it: integers of any size and no other numbers, and no name twice. */
export type Json = null | boolean | string | bigint | Json[] | Map<string, Json>;

/** A text that has another form than docs/proofs.md says. The message says what and where. */
export class FormError extends Error {}

const MAX_DEPTH = 8;
const SPACES = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const INTEGER = /(?:0|-?[1-9][0-9]*)(?![0-9.eE])/y;
const WORD = /true|false|null/y;
const WORDS: Record<string, Json> = { true: true, false: false, null: null };

/** Parse a whole text. Throws FormError. */
export function parseJson(text: string, longest: number): Json {
  if (text.length > longest) throw new FormError(`it has ${text.length} characters, and may have ${longest}`);
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

/** Write canonical JSON. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (!(value instanceof Map)) return typeof value === "bigint" ? String(value) : JSON.stringify(value);
  const names = [...value.keys()].sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(value.get(name)!)}`).join(",")}}`;
}

/** Parse a text that has to be canonical: written anew, it is the same. Throws FormError. */
export function parseCanonical(text: string, longest: number): Json {
  const value = parseJson(text, longest);
  const isAscii = /^[\x20-\x7e]*$/.test(text);
  if (!isAscii || canonicalJson(value) !== text) throw new FormError("it is no canonical JSON");
  return value;
}

class Reader {
  private at = 0;

  constructor(private readonly text: string) {}

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw new FormError(`it is nested more than ${MAX_DEPTH} times`);
    if (this.has("{")) return this.object(depth);
    if (this.has("[")) return this.array(depth);
    const string = this.match(STRING);
    if (string !== null) return JSON.parse(string) as string;
    const integer = this.match(INTEGER);
    if (integer !== null) return BigInt(integer);
    const word = this.match(WORD);
    if (word !== null) return WORDS[word]!;
    throw this.fault("a value, whose numbers are integers without exponent");
  }

  end(): void {
    this.match(SPACES);
    if (this.at !== this.text.length) throw this.fault("its end");
  }

  private object(depth: number): Json {
    const found = new Map<string, Json>();
    if (this.has("}")) return found;
    do {
      this.match(SPACES);
      const name = this.match(STRING);
      if (name === null) throw this.fault("a name");
      const key = JSON.parse(name) as string;
      if (found.has(key)) throw new FormError(`it has the name ${name} twice`);
      if (!this.has(":")) throw this.fault("a colon");
      found.set(key, this.value(depth + 1));
    } while (this.has(","));
    if (!this.has("}")) throw this.fault("a comma or a brace");
    return found;
  }

  private array(depth: number): Json {
    const found: Json[] = [];
    if (this.has("]")) return found;
    do found.push(this.value(depth + 1)); while (this.has(","));
    if (!this.has("]")) throw this.fault("a comma or a bracket");
    return found;
  }

  /** Step over spaces, and over a character if it is next. */
  private has(character: string): boolean {
    this.match(SPACES);
    if (this.text[this.at] !== character) return false;
    this.at += 1;
    return true;
  }

  private match(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? null;
    if (found !== null) this.at += found.length;
    return found;
  }

  private fault(expected: string): FormError {
    return new FormError(`it is no JSON of docs/proofs.md: after ${this.at} characters there should be ${expected}`);
  }
}
