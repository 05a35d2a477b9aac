"""A publisher of proofs for made-up vaults, honest unless a test bends it."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.proofs import sum_tree
from cvms.proofs.inclusion import InclusionProof, inclusion_proof, key_bytes
from cvms.proofs.log_entry import (
    NO_ENTRY,
    VERSION,
    AuditHead,
    Liabilities,
    LogEntry,
    Reserves,
    SignedEntry,
    canonical,
    signed_bytes,
)
from cvms.proofs.reserve_lines import Line, PoolLine, VaultLine, encoded, token_account_of

KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"key").digest())
ADDRESS = str(Pubkey.from_bytes(KEY.public_key().public_bytes_raw()))


def made_up(name: str) -> str:
    """Return an address that no one has the key of."""
    return str(Pubkey.from_bytes(sha256(name.encode()).digest()))


GENESIS, PROGRAM, MINT, POOL = map(made_up, ("genesis", "program", "mint", "pool"))


@dataclass(frozen=True, slots=True)
class MadeVault:
    """A vault with its five balances. What it lent is with the pool."""

    owner: str
    balances: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.balances[0]

    @property
    def lent(self) -> int:
        return self.balances[4]


def vaults(count: int) -> list[MadeVault]:
    """Return vaults that each hold something else."""
    found = []
    for index in range(count):
        owner = str(Keypair.from_seed(sha256(b"owner %d" % index).digest()).pubkey())
        parts = (1_000 + index, 7 * index, index % 3, 50 * (index % 2))
        found.append(MadeVault(owner, (sum(parts), *parts)))
    return found


@dataclass(slots=True)
class Snapshot:
    """What one entry is made from. A test bends it before it asks for the entry."""

    vaults: list[MadeVault]
    slot: int = 1_000
    number: int = 1
    previous: str = NO_ENTRY
    lines: list[Line] = field(default_factory=list)
    audit: AuditHead = field(default_factory=lambda: AuditHead(id=3, hash="ab" * 32))

    def __post_init__(self) -> None:
        if not self.lines:
            self.lines = honest_lines(self.vaults, self.slot)

    @property
    def salts(self) -> list[bytes]:
        return [
            hmac.digest(each.owner.encode(), b"%d" % self.number, "sha256") for each in self.vaults
        ]

    @property
    def leaves(self) -> list[sum_tree.Node]:
        return [
            sum_tree.leaf(key_bytes(each.owner), each.balances, salt)
            for each, salt in zip(self.vaults, self.salts, strict=True)
        ]

    @property
    def file(self) -> list[bytes]:
        return [encoded(line) for line in self.lines]

    def entry(self, **changes: Any) -> LogEntry:
        root = sum_tree.root(self.leaves)
        total, available, locked, timelocked, lent = map(str, sum_tree.sums_of(root))
        held = [each for each in self.lines if isinstance(each, VaultLine)]
        entry = LogEntry(
            version=VERSION,
            number=self.number,
            previous=self.previous,
            time="2026-12-01T02:00:00Z",
            genesis=GENESIS,
            program=PROGRAM,
            mint=MINT,
            slot=self.slot,
            blockhash=made_up(f"block {self.slot}"),
            liabilities=Liabilities(
                root=root[:32].hex(),
                vaults=len(self.vaults),
                total=total,
                available=available,
                locked=locked,
                timelocked=timelocked,
                yield_deposited=lent,
            ),
            reserves=Reserves(
                hash=sha256(b"".join(self.file)).hexdigest(),
                accounts=len(self.lines),
                tokens=str(sum(int(each.amount) for each in held)),
                pools=str(sum(int(each.lent) for each in held if each.pool)),
                unproven=str(sum(int(each.lent) for each in held if not each.pool)),
            ),
            audit=self.audit,
        )
        return msgspec.structs.replace(entry, **changes)

    def signed(self, **changes: Any) -> SignedEntry:
        return signed(self.entry(**changes))

    def proof(self, index: int, **changes: Any) -> InclusionProof:
        """Return the proof of the vault at a place in the tree."""
        return inclusion_proof(
            self.signed(**changes),
            owner=self.vaults[index].owner,
            balances=self.vaults[index].balances,
            salt=self.salts[index],
            index=index,
            siblings=sum_tree.path(self.leaves, index),
        )

    def following(self, *, slot: int | None = None) -> Snapshot:
        """Return the next snapshot, by default an hour later."""
        return Snapshot(
            self.vaults,
            slot=self.slot + 9_000 if slot is None else slot,
            number=self.number + 1,
            previous=self.signed().hash,
            audit=self.audit,
        )


def signed(entry: LogEntry, key: Ed25519PrivateKey = KEY) -> SignedEntry:
    text = canonical(entry)
    return SignedEntry(
        text=text,
        key=str(Pubkey.from_bytes(key.public_key().public_bytes_raw())),
        signature=key.sign(signed_bytes(text)).hex(),
    )


def honest_lines(held: list[MadeVault], slot: int) -> list[Line]:
    """Return a line for each vault, read two slots later, and one for their pool."""
    derive = token_account_of(PROGRAM, MINT)
    lines: list[Line] = [
        VaultLine(
            owner=each.owner,
            account=derive(each.owner),
            slot=slot + 2,
            books=str(each.total),
            books_lent=str(each.lent),
            total=str(each.total),
            lent=str(each.lent),
            amount=str(each.total - each.lent),
            lamports="2039280",
            hash=sha256(each.owner.encode()).hexdigest(),
            pool=POOL if each.lent else None,
            principal=str(each.lent) if each.lent else None,
        )
        for each in sorted(held, key=lambda each: each.owner)
    ]
    lent = sum(each.lent for each in held)
    if lent:
        lines.append(
            PoolLine(
                pool=POOL,
                account=made_up("pool's tokens"),
                slot=slot + 2,
                principal=str(lent),
                amount=str(lent),
                lamports="2039280",
                hash="cd" * 32,
            )
        )
    return lines
