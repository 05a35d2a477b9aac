"""The file of reserves: a line for each vault's token account, and for each yield pool.

Lines are canonical JSON. Those of vaults come first, in the order of their owners' characters, then
those of pools. Each says what the accounts held at `slot`, at which the node read them: in one
call, so at one slot. `books` is what the vault held at the entry's slot, and `books_lent` what it
had lent then; `total` and `lent` differ where something moved in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import BinaryIO

import msgspec
from solders.pubkey import Pubkey
from spl.token.instructions import get_associated_token_address

from cvms.errors import ProofInvalid
from cvms.proofs.inclusion import key_bytes
from cvms.proofs.log_entry import (
    Base58,
    Decimal,
    Hex32,
    LogEntry,
    Number,
    Reserves,
    Strict,
    canonical,
    check_addresses,
    decoded,
    u64,
)

MAX_LINE = 2048


class VaultLine(Strict, frozen=True, kw_only=True, tag="vault", tag_field="kind"):
    """A vault, its token account, and what a yield program holds for it.

    `lent` is what its program holds: `yield_deposited` less what stayed in the token account.
    `pool` and `principal` are of its position; null if nothing is lent, or to a program that is not
    the yield pool. `hash` is the SHA-256 of the token account's data.
    """

    owner: Base58
    account: Base58
    slot: Number
    books: Decimal
    books_lent: Decimal
    total: Decimal
    lent: Decimal
    amount: Decimal
    lamports: Decimal
    hash: Hex32
    pool: Base58 | None = None
    principal: Decimal | None = None


class PoolLine(Strict, frozen=True, kw_only=True, tag="pool", tag_field="kind"):
    """A yield pool: what it owes to all its positions, and the tokens that it has for them."""

    pool: Base58
    account: Base58
    slot: Number
    principal: Decimal
    amount: Decimal
    lamports: Decimal
    hash: Hex32


Line = VaultLine | PoolLine
_LINE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
Derive = Callable[[str], str]
"""Returns the token account of the vault of an owner."""


class ReserveTotals:
    """Checks lines one by one, and sums them up: for who writes a file, and for who verifies it."""

    def __init__(self, *, slot: int, token_account_of: Derive) -> None:
        self._slot = slot
        self._token_account_of = token_account_of
        self._digest = sha256()
        self._last_owner = ""
        self._accounts = self._vaults = 0
        self._books = self._books_lent = self._tokens = self._unproven = 0
        self._lent: dict[str, int] = {}
        self._pools: set[str] = set()
        self._last_pool = ""

    @property
    def lent(self) -> Mapping[str, int]:
        """What the pools hold for vaults, by pool."""
        return self._lent

    def add(self, data: bytes) -> Line:
        """Check one line of the file, with its line break. Raises ProofInvalid."""
        if len(data) > MAX_LINE or not data.endswith(b"\n"):
            raise ProofInvalid("reserves_file", f"line {self._accounts + 1} is not whole")
        line = read_line(data)
        own = line.pool if isinstance(line, PoolLine) else line.owner
        check_addresses(own, line.account, line.pool or own, check="reserves_file")
        if encoded(line) != data:
            raise ProofInvalid("reserves_file", f"line {self._accounts + 1} is not canonical JSON")
        if line.slot < self._slot:
            reason = f"{line.account} was read at slot {line.slot}, before slot {self._slot}"
            raise ProofInvalid("reserves_stale", reason)
        if isinstance(line, PoolLine):
            self._add_pool(line)
        else:
            self._add_vault(line)
        self._digest.update(data)
        self._accounts += 1
        return line

    def reserves(self) -> Reserves:
        """Return what an entry says of these lines. Raises ProofInvalid if a pool has none."""
        if missing := set(self._lent) - self._pools:
            raise ProofInvalid("pool_cannot_pay", f"the pool {min(missing)} has no line")
        return Reserves(
            hash=self._digest.hexdigest(),
            accounts=self._accounts,
            tokens=str(self._tokens),
            pools=str(sum(self._lent.values())),
            unproven=str(self._unproven),
        )

    def verify(self, entry: LogEntry) -> None:
        """Raise ProofInvalid unless these are the lines that the entry is about."""
        said, owed = entry.reserves, entry.liabilities
        if (self._digest.hexdigest(), self._accounts) != (said.hash, said.accounts):
            reason = "the file is not the one that the entry commits to"
            raise ProofInvalid("reserves_file", reason)
        if self._vaults != owed.vaults:
            reason = f"{self._vaults} vaults have a line, and {owed.vaults} are in the tree"
            raise ProofInvalid("left_out", reason)
        if self._books != u64(owed.total):
            reason = f"the lines' books are {self._books}, and the tree's total is {owed.total}"
            raise ProofInvalid("left_out", reason)
        if self._books_lent != u64(owed.yield_deposited):
            reason = f"the lines lent {self._books_lent}, and the tree {owed.yield_deposited}"
            raise ProofInvalid("left_out", reason)
        if (found := self.reserves()) != said:
            raise ProofInvalid("reserves_file", f"the lines' sums are {found}, not {said}")

    def _add_vault(self, line: VaultLine) -> None:
        if self._pools:
            raise ProofInvalid("reserves_file", f"{line.account} is after the pools")
        if self._token_account_of(line.owner) != line.account:
            reason = f"{line.account} is not the token account of the vault of {line.owner}"
            raise ProofInvalid("reserves_twice", reason)
        if line.owner <= self._last_owner:
            raise ProofInvalid("reserves_twice", f"{line.owner} is there twice, or out of order")
        total, lent, amount = u64(line.total), u64(line.lent), u64(line.amount)
        if lent > total or amount < total - lent:
            reason = f"{line.account} has {amount} tokens for {total}, of which {lent} are lent"
            raise ProofInvalid("not_covered", reason)
        if u64(line.books_lent) > u64(line.books) or (line.pool is None) != (
            line.principal is None
        ):
            raise ProofInvalid("reserves_file", f"the line of {line.owner} contradicts itself")
        if line.pool is not None and not lent:
            raise ProofInvalid("reserves_file", f"nothing is lent to the pool of {line.owner}")
        self._last_owner = line.owner
        self._vaults += 1
        self._books += u64(line.books)
        self._books_lent += u64(line.books_lent)
        self._tokens += amount
        if lent and line.pool is None:
            self._unproven += lent
        elif lent and line.pool is not None:
            if line.principal is None or u64(line.principal) < lent:
                reason = f"the position of {line.owner} has {line.principal}, and {lent} are lent"
                raise ProofInvalid("pool_cannot_pay", reason)
            self._lent[line.pool] = self._lent.get(line.pool, 0) + lent

    def _add_pool(self, line: PoolLine) -> None:
        if line.pool <= self._last_pool:
            raise ProofInvalid("reserves_twice", f"{line.pool} is there twice, or out of order")
        if not self._lent.get(line.pool, 0) <= u64(line.principal) <= u64(line.amount):
            reason = f"the pool {line.pool} has {line.amount} tokens for {line.principal} deposited"
            raise ProofInvalid("pool_cannot_pay", reason)
        self._pools.add(line.pool)
        self._last_pool = line.pool


def bounded_lines(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's lines, of one that is too long only as much as shows it."""
    return iter(partial(file.readline, MAX_LINE + 1), b"")


def read_line(data: bytes) -> Line:
    """Return a line of the file. Raises ProofInvalid for anything else."""
    return decoded(data, _LINE, check="reserves_file")


def encoded(line: Line) -> bytes:
    return canonical(line).encode() + b"\n"


def verify_file(
    entry: LogEntry, lines: Iterable[bytes], *, token_account_of: Derive
) -> Iterator[Line]:
    """Yield each line once it is checked. Raises ProofInvalid, at the latest after the last one."""
    totals = ReserveTotals(slot=entry.slot, token_account_of=token_account_of)
    for line in lines:
        yield totals.add(line)
    totals.verify(entry)


def token_account_of(program: str, mint: str) -> Derive:
    """Return what derives the token account of an owner's vault."""
    key, tokens = Pubkey.from_string(program), Pubkey.from_string(mint)

    def derive(owner: str) -> str:
        vault, _ = Pubkey.find_program_address([b"vault", key_bytes(owner)], key)
        return str(get_associated_token_address(vault, tokens))

    return derive
