"""Inclusion proof: a vault's balances are in the root of an entry."""

from __future__ import annotations

from typing import Annotated

import msgspec
from solders.pubkey import Pubkey

from cvms.errors import ProofInvalid
from cvms.proofs import sum_tree
from cvms.proofs.log_entry import Base58, Decimal, Hex32, LogEntry, Number, SignedEntry, Strict, u64

BALANCES = ("total", "available", "locked", "timelocked", "yield_deposited")


class ProvenBalances(Strict, frozen=True, kw_only=True):
    """What a vault held at the entry's slot, in the token's smallest unit."""

    total: Decimal
    available: Decimal
    locked: Decimal
    timelocked: Decimal
    yield_deposited: Decimal

    @property
    def amounts(self) -> tuple[int, ...]:
        return tuple(u64(getattr(self, name)) for name in BALANCES)


class Sibling(Strict, frozen=True, kw_only=True):
    """A node beside the way to the root: its hash and sums, in the order of `ProvenBalances`."""

    hash: Hex32
    sums: Annotated[list[Decimal], msgspec.Meta(min_length=sum_tree.SUMS, max_length=sum_tree.SUMS)]


class InclusionProof(Strict, frozen=True, kw_only=True):
    """The file that `cvms verify` reads. `index` is the leaf's, from 0; `path` begins beside it."""

    entry: SignedEntry
    owner: Base58
    balances: ProvenBalances
    salt: Hex32
    index: Number
    path: Annotated[list[Sibling], msgspec.Meta(max_length=sum_tree.MAX_PATH)]

    def verify(self) -> LogEntry:
        """Return the entry that commits to the balances. Raises ProofInvalid if it does not."""
        entry = self.entry.read()
        self.entry.verify_signature()
        total, *parts = amounts = self.balances.amounts
        if total != sum(parts):
            raise ProofInvalid("balances", f"the parts {parts} are not the total {total}")
        reached = sum_tree.root_of_path(
            sum_tree.leaf(key_bytes(self.owner), amounts, bytes.fromhex(self.salt)),
            index=self.index,
            count=entry.liabilities.vaults,
            siblings=[
                sum_tree.node(bytes.fromhex(each.hash), [u64(sum_) for sum_ in each.sums])
                for each in self.path
            ],
        )
        owed = entry.liabilities
        if reached != sum_tree.node(bytes.fromhex(owed.root), owed.sums):
            raise ProofInvalid("inclusion", "the path does not lead to the entry's root and sums")
        return entry


PROOF = msgspec.json.Decoder(InclusionProof)


def inclusion_proof(
    entry: SignedEntry,
    *,
    owner: str,
    balances: tuple[int, ...],
    salt: bytes,
    index: int,
    siblings: list[sum_tree.Node],
) -> InclusionProof:
    """Return the proof for a vault of the entry."""
    return InclusionProof(
        entry=entry,
        owner=owner,
        balances=ProvenBalances(**dict(zip(BALANCES, map(str, balances), strict=True))),
        salt=salt.hex(),
        index=index,
        path=[
            Sibling(hash=each[:32].hex(), sums=[str(sum_) for sum_ in sum_tree.sums_of(each)])
            for each in siblings
        ],
    )


def key_bytes(address: str) -> bytes:
    """Return an address's 32 bytes. Raises ProofInvalid for anything else."""
    try:
        return bytes(Pubkey.from_string(address))
    except ValueError:
        raise ProofInvalid("inclusion", f"{address} is no address") from None
