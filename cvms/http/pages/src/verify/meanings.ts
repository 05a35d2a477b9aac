import { type CheckName, CHECKS } from "../../../../../clients/verifier/src/checks.js";

/** What is true of each check that fails. */
const FAILED: Record<CheckName, string> = {
  proof: "This is no inclusion proof, or it was changed. Choose proof.json as the service gave it, or download it again.",
  entry: "The entry in the proof is not written as it has to be, so nothing in it counts.",
  signature: "The entry was changed after it was signed, or never was signed by this key.",
  overflow: "The sums are so large that the format cannot hold them. Such a tree proves nothing.",
  balances: "A total is not what its parts add up to, so the sums hide something.",
  inclusion: "These balances are not part of what the service says it owes. The service may have left the vault out, or changed its balances.",
  deployment: "The proof is about another program or token than yours. Compare what you typed with where you have it from.",
  key: "Somebody else has signed. Compare the key with where it was published; if it is right, do not trust the proof.",
  fork: "The service has told two stories. Keep both files: together with the signatures they show it to anybody.",
  log: "Entries are missing or were changed, or the proof's entry was never published.",
  reserves_file: "This is not the file that the entry was signed for. Download it for the slot of the proof.",
  reserves_twice: "The same tokens are counted twice, or an account belongs to somebody else.",
  reserves_stale: "Tokens were counted before what is owed was added up. They may have been moved, and counted again.",
  not_covered: "A vault's account has fewer tokens than it should have.",
  pool_cannot_pay: "A yield pool does not have what it owes to the vaults.",
  left_out: "Somebody's vault is not in the file, or has another balance there.",
  chain: "The entry is not of this chain.",
  stale: "The entry is old. Download a newer proof.",
  reserves: "The chain says that an account did not hold what the file claims.",
};

const NEED_A_NODE: CheckName[] = ["chain", "stale", "reserves"];

/** Checks that this page can make: it asks no node. */
export function isOffline(name: CheckName): boolean {
  return !NEED_A_NODE.includes(name);
}

export function meaning(name: CheckName, isFailed: boolean): string {
  return isFailed ? FAILED[name] : CHECKS[name];
}
