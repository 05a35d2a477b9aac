/** The tree of docs/proofs.md: hashes that cover the sums of both sides. */
import { type Bytes, joined, ofU64, sha256 } from "../values/bytes.js";

export interface TreeNode {
  hash: Uint8Array;
  /** The five sums, in the order of the balances; each is a u64. */
  sums: bigint[];
}

interface Leaf {
  owner: Uint8Array;
  balances: bigint[];
  salt: Uint8Array;
}

export async function leafOf({ owner, balances, salt }: Leaf): Promise<TreeNode> {
  return { hash: await sha256(Uint8Array.of(0), owner, packed(balances), salt), sums: balances };
}

/** Return the node to which a path leads, or null if a tree of `count` leaves has none of this length there. */
export async function rootOf(leaf: TreeNode, index: bigint, count: bigint, path: TreeNode[]): Promise<TreeNode | null> {
  if (index >= count) return null;
  let [node, place, last] = [leaf, index, count - 1n];
  for (const sibling of path) {
    // A last node without a partner moves up.
    while (place === last && place % 2n === 0n && last > 0n) [place, last] = [place / 2n, last / 2n];
    if (last === 0n) return null;
    node = place % 2n === 1n ? await parentOf(sibling, node) : await parentOf(node, sibling);
    [place, last] = [place / 2n, last / 2n];
  }
  return last === 0n ? node : null;
}

export function added(first: bigint[], second: bigint[]): bigint[] {
  return first.map((each, place) => each + second[place]!);
}

async function parentOf(left: TreeNode, right: TreeNode): Promise<TreeNode> {
  const hash = await sha256(Uint8Array.of(1), left.hash, packed(left.sums), right.hash, packed(right.sums));
  return { hash, sums: added(left.sums, right.sums) };
}

function packed(sums: bigint[]): Bytes {
  return joined(...sums.map(ofU64));
}
