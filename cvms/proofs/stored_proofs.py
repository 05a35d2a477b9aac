"""Entries and inclusion proofs made again from what the database has of them."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from uuid import uuid4

import msgspec
from solders.pubkey import Pubkey

from cvms.errors import ProofInvalid
from cvms.proofs import sum_tree
from cvms.proofs.inclusion import InclusionProof, inclusion_proof
from cvms.proofs.log_entry import SignedEntry, verify_log
from cvms.proofs.sum_tree import CHUNK_LEAVES, NODE_BYTES
from cvms.store.postgres.driver.connection import Connection
from cvms.store.proofs import entries, leaves
from cvms.store.proofs.entries import EntryRow, EntryTree
from cvms.store.proofs.leaves import LeafRow
from cvms.store.vaults import balance_history

KEY_BYTES = 12
"""Of a chunk's first key: no two of a million keys begin alike."""
ABOVE_ALL = b"\xff" * 33


class BalanceProof(msgspec.Struct, frozen=True, kw_only=True):
    """The last entry of the log of proofs up to a balance's slot, and the vault's proof from it.

    It is `exact` if nothing moved between the entry's slot and the balance's: otherwise, a
    statement that begins after the entry's slot shows what did. `proof` is null if the vault held
    nothing at the entry's slot, or balances of that slot were corrected later.
    """

    number: int
    slot: int
    exact: bool
    proof: InclusionProof | None


def signed_entry(row: EntryRow) -> SignedEntry:
    """Return a stored entry as it is published."""
    return SignedEntry(
        text=row.text,
        key=str(Pubkey.from_bytes(row.key)),
        signature=row.signature.hex(),
        memo=row.memo,
    )


def leaf_of(row: LeafRow, number: int) -> sum_tree.Node:
    """Return a vault's leaf in the tree of an entry."""
    return sum_tree.leaf(bytes(Pubkey.from_string(row.owner)), row.balances, salt(row.key, number))


def salt(key: bytes, number: int) -> bytes:
    """Return a vault's salt in an entry, which says nothing about its salts in others."""
    return hmac.digest(key, number.to_bytes(8, "little"), "sha256")


async def prove(conn: Connection, row: EntryRow, owner: str) -> InclusionProof | None:
    """Return the proof of a vault in an entry, None if the vault held nothing then.

    Raises ProofInvalid if the balances are not those of the entry any more: they were corrected.
    Call it on one snapshot.
    """
    found = await entries.key_and_shape(conn, row.number, owner)
    if found is None:
        return None  # the vault is newer than every entry
    key, vaults, first_keys = found
    if not vaults:
        return None
    if not first_keys:
        raise ProofInvalid("books", f"the tree of entry {row.number} was lost with a database")
    place = _chunk_of(key, first_keys)
    first = _key(first_keys, place) if place else b""
    end = _key(first_keys, place + 1)
    rows = await leaves.chunk(conn, row.slot, first=first, end=end)
    owners = [each.owner for each in rows]
    if owner not in owners:
        return None
    nodes = [leaf_of(each, row.number) for each in rows]
    places = [place, *sum_tree.places_above(vaults, place)]
    chunk, *above = await entries.nodes_of(conn, row.number, places, size=NODE_BYTES)
    if sum_tree.root(nodes) != chunk:
        raise ProofInvalid("books", f"balances of slot {row.slot} were corrected after its entry")
    index = owners.index(owner)
    return inclusion_proof(
        signed_entry(row),
        owner=owner,
        balances=rows[index].balances,
        salt=salt(key, row.number),
        index=place * CHUNK_LEAVES + index,
        siblings=[*sum_tree.path(nodes, index), *above],
    )


async def prove_up_to(conn: Connection, slot: int, owner: str) -> BalanceProof | None:
    """Return what the last entry up to a slot proves of a vault, None if there is no entry.

    Call it on one snapshot.
    """
    row = await entries.up_to_slot(conn, slot)
    if row is None:
        return None
    point = await balance_history.at(conn, owner, slot)
    try:
        proof = await prove(conn, row, owner)
    except ProofInvalid:
        proof = None
    exact = point is None or point.slot <= row.slot
    return BalanceProof(number=row.number, slot=row.slot, exact=exact, proof=proof)


async def append_published(conn: Connection, log: Sequence[SignedEntry]) -> int:
    """Append the entries of a copy of the log that follow the last one; return how many.

    Their trees are lost. Raises ProofInvalid unless the copy has the stored log's last entry,
    or all if none is stored.
    """
    verify_log(log)
    last = await entries.newest(conn)
    numbered = [(each.read(), each) for each in log]
    if last is not None and signed_entry(last).hash not in {each.hash for each in log}:
        raise ProofInvalid("fork", f"it does not have entry {last.number} of the database")
    if last is None and numbered and numbered[0][0].number > 1:
        raise ProofInvalid("log", f"it begins with entry {numbered[0][0].number}, not with 1")
    lost = [each for each in numbered if last is None or each[0].number > last.number]
    for entry, signed in lost:
        row = EntryRow(
            number=entry.number,
            slot=entry.slot,
            text=signed.text,
            key=bytes(Pubkey.from_string(signed.key)),
            signature=bytes.fromhex(signed.signature),
            file=uuid4(),
        )
        tree = EntryTree(vaults=entry.liabilities.vaults, first_keys=b"", nodes=b"")
        await entries.add(conn, row, tree)
        if signed.memo is not None:
            await entries.set_memo(conn, entry.number, signed.memo)
    return len(lost)


def _chunk_of(key: bytes, first_keys: bytes) -> int:
    """Return the last chunk whose first key is not above this one; 0 if there is none."""
    low, high = 0, len(first_keys) // KEY_BYTES
    while high - low > 1:
        middle = (low + high) // 2
        if _key(first_keys, middle) <= key:
            low = middle
        else:
            high = middle
    return low


def _key(first_keys: bytes, chunk: int) -> bytes:
    """Return how the first key of a chunk begins; after the last, what is above all keys."""
    return first_keys[chunk * KEY_BYTES : (chunk + 1) * KEY_BYTES] or ABOVE_ALL
