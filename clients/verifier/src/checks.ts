/** The checks of docs/proofs.md, by their names, and what a verifier reports of each. */

/** Each check, in the order in which it is made, with what it shows when it is passed. */
export const CHECKS = {
  proof: "The proof has the form that docs/proofs.md describes.",
  entry: "The entry of the log has the form that docs/proofs.md describes.",
  signature: "The key has signed the entry.",
  overflow: "No sum on the path is larger than the format allows.",
  balances: "Each total is the sum of its parts.",
  inclusion: "The vault's balances are in the sum of all that is owed.",
  deployment: "The entry is of the program and the token that you expect.",
  key: "The entry is signed by the key that you expect.",
  fork: "No two copies of the log contradict each other, or the proof.",
  log: "Each entry of the log follows from the one before, and the proof's entry is one of them.",
  reserves_file: "The file of reserves is the one that the entry names, and its sums are the entry's.",
  reserves_twice: "No account is counted twice, and each is the account of its owner's vault.",
  reserves_stale: "No account was read before what is owed was added up.",
  not_covered: "Each vault's account has the tokens that it should have.",
  pool_cannot_pay: "The yield pools have what the vaults have lent them.",
  left_out: "Each vault in the sum is in the file of reserves, and so is the proof's.",
  chain: "The entry's block is on this chain.",
  stale: "The entry is not too old.",
  reserves: "The chain shows that the accounts held what the file says.",
} as const;

export type CheckName = keyof typeof CHECKS;
export type Outcome = "ok" | "failed" | "not checked";

export interface Check {
  name: CheckName;
  outcome: Outcome;
  /** What was seen, or why nothing was. */
  detail: string;
}

/** The outcomes so far. */
export class Report {
  private readonly found = new Map<CheckName, Check>();

  pass(name: CheckName, detail: string): void {
    this.found.set(name, { name, outcome: "ok", detail });
  }

  fail(name: CheckName, detail: string): void {
    this.found.set(name, { name, outcome: "failed", detail });
  }

  skip(detail: string, ...names: CheckName[]): void {
    for (const name of names) this.found.set(name, { name, outcome: "not checked", detail });
  }

  /** Pass the check, unless there is a fault. */
  decide(name: CheckName, fault: string | null, detail: string): void {
    if (fault === null) this.pass(name, detail);
    else this.fail(name, fault);
  }

  has(name: CheckName, outcome: Outcome): boolean {
    return this.found.get(name)?.outcome === outcome;
  }

  /** Return every check in the order of CHECKS. What nothing was said of is not checked, for this reason. */
  checks(reason: string): Check[] {
    const names = Object.keys(CHECKS) as CheckName[];
    return names.map((name) => this.found.get(name) ?? { name, outcome: "not checked", detail: reason });
  }
}
