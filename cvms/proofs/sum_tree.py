"""Merkle sum tree over vaults' balances: its root commits to each leaf and to the sums of all.

A node is 72 bytes: its hash, and five sums (u64, little-endian). A parent's hash covers the hashes
and the sums of both children. A hash over their joint sum would let a publisher lower it on one
side. The shape is that of RFC 9162, so the index of a leaf and the number of leaves fix its path.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cvms.errors import ProofInvalid

SUMS = 5
"""Total, available, locked, timelocked and lent for yield."""
NODE_BYTES = 32 + 8 * SUMS
CHUNK_LEAVES = 64
"""Leaves whose nodes are computed anew for a proof; all above them are stored."""
MAX_PATH = 64
EMPTY = sha256(b"").digest() + bytes(8 * SUMS)
"""Root of a tree without leaves."""

_LEAF = struct.Struct(f"<c32s{SUMS}Q32s")
_SUMS = struct.Struct(f"<{SUMS}Q")

Node = bytes


def leaf(owner: bytes, balances: Sequence[int], salt: bytes) -> Node:
    """Return the node of one vault. Raises ProofInvalid for what is no u64."""
    try:
        committed = _LEAF.pack(b"\x00", owner, *balances, salt)
    except struct.error:
        raise ProofInvalid("balances", f"{list(balances)} are not {SUMS} balances") from None
    return sha256(committed).digest() + committed[33:-32]


def parent(left: Node, right: Node) -> Node:
    """Return the node above two nodes. Raises ProofInvalid if a sum exceeds a u64."""
    try:
        sums = _SUMS.pack(*map(int.__add__, sums_of(left), sums_of(right)))
    except struct.error:
        raise ProofInvalid("overflow", "a sum in the tree exceeds 2^64 - 1") from None
    return sha256(b"\x01" + left + right).digest() + sums


def sums_of(node: Node) -> tuple[int, ...]:
    return _SUMS.unpack_from(node, 32)


def node(digest: bytes, sums: Sequence[int]) -> Node:
    """Return the node with this hash and these sums. Raises ProofInvalid for what is no u64."""
    try:
        return digest + _SUMS.pack(*sums)
    except struct.error:
        raise ProofInvalid("balances", f"{list(sums)} are not {SUMS} sums") from None


def root(nodes: Sequence[Node]) -> Node:
    """Return the root above the nodes of one level."""
    return levels(nodes)[-1][0] if nodes else EMPTY


def levels(nodes: Sequence[Node]) -> list[Sequence[Node]]:
    """Return the levels above and with these nodes, the root last."""
    found = [nodes]
    while len(found[-1]) > 1:
        found.append(_above(found[-1]))
    return found


def path(nodes: Sequence[Node], index: int) -> list[Node]:
    """Return the siblings on the way from one of the nodes to their root."""
    found = []
    for level in levels(nodes)[:-1]:
        if (sibling := index ^ 1) < len(level):
            found.append(level[sibling])
        index //= 2
    return found


def root_of_path(start: Node, *, index: int, count: int, siblings: Sequence[Node]) -> Node:
    """Return the root that a path leads to. Raises ProofInvalid for a path of another shape."""
    if not 0 <= index < count:
        raise ProofInvalid("inclusion", f"index {index} is not below the {count} leaves")
    reached, last = start, count - 1
    for sibling in siblings:
        while index == last and index % 2 == 0 and last:
            index, last = index // 2, last // 2  # a node without a sibling moves up unchanged
        if not last:
            raise ProofInvalid("inclusion", "the path is too long")
        reached = parent(sibling, reached) if index % 2 else parent(reached, sibling)
        index, last = index // 2, last // 2
    if last:
        raise ProofInvalid("inclusion", "the path is too short")
    return reached


@dataclass(frozen=True, slots=True)
class TreeTop:
    """All nodes from the roots of the chunks up, packed: enough for a proof with one chunk."""

    count: int
    nodes: bytes

    @property
    def root(self) -> Node:
        return self.nodes[-NODE_BYTES:] if self.nodes else EMPTY


def top(count: int, roots: Sequence[Node]) -> TreeTop:
    """Return the top of a tree of `count` leaves, from the roots of its chunks."""
    return TreeTop(count, b"".join(each for level in levels(roots) for each in level))


def places_above(count: int, chunk: int) -> list[int]:
    """Return which of a TreeTop's nodes are the siblings on the way from a chunk's root up.

    A chunk's root is the node with the chunk's number.
    """
    found, size, start = [], -(-count // CHUNK_LEAVES), 0
    while size > 1:
        if (sibling := chunk ^ 1) < size:
            found.append(start + sibling)
        start, size, chunk = start + size, (size + 1) // 2, chunk // 2
    return found


def _above(level: Sequence[Node]) -> list[Node]:
    pairs = [parent(*pair) for pair in zip(level[::2], level[1::2], strict=False)]
    return [*pairs, level[-1]] if len(level) % 2 else pairs
