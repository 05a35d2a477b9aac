"""The file of reserves: a line for each vault's token account, and for each yield pool.

Lines are canonical JSON. Those of vaults come first, in the order of their token accounts' bytes,
then those of pools. Each says what the accounts held at `slot`, at which the node read them: in one
call, so at one slot. `books` is what the vault held at the entry's slot; it differs from `total`
where something moved in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256

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
    Strict,
    canonical,
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
    """Checks lines one by one, and sums up. `finish` says whether they are those of an entry."""

    def __init__(self, entry: LogEntry, *, token_account_of: Derive) -> None:
        self._entry = entry
        self._token_account_of = token_account_of
        self._digest = sha256()
        self._last = b""
        self._accounts = self._vaults = 0
        self._books = self._tokens = self._unproven = 0
        self._lent: dict[str, int] = {}
        self._pools: dict[str, PoolLine] = {}

    def add(self, data: bytes) -> Line:
        """Check one line of the file, with its line break. Raises ProofInvalid."""
        if len(data) > MAX_LINE or not data.endswith(b"\n"):
            raise ProofInvalid("reserves_file", f"line {self._accounts + 1} is not whole")
        line = decoded(data[:-1], _LINE, check="reserves_file")
        if encoded(line) != data:
            raise ProofInvalid("reserves_file", f"line {self._accounts + 1} is not canonical JSON")
        self._digest.update(data)
        self._accounts += 1
        if line.slot < self._entry.slot:
            raise ProofInvalid(
                "reserves_stale",
                f"{line.account} was read at slot {line.slot}, "
                f"before the entry's slot {self._entry.slot}",
            )
        if isinstance(line, PoolLine):
            self._add_pool(line)
        else:
            self._add_vault(line)
        return line

    def finish(self) -> None:
        """Check what only all lines together can show. Raises ProofInvalid."""
        entry = self._entry
        if (self._digest.hexdigest(), self._accounts) != (
            entry.reserves.hash,
            entry.reserves.accounts,
        ):
            raise ProofInvalid("reserves_file", "the file is not the one that the entry commits to")
        owed = entry.liabilities
        if self._vaults != owed.vaults:
            raise ProofInvalid(
                "left_out", f"{self._vaults} vaults have a line, and {owed.vaults} are in the tree"
            )
        if self._books != u64(owed.total):
            raise ProofInvalid(
                "left_out",
                f"the lines' books are {self._books} together, and the "
                f"tree's total is {owed.total}",
            )
        pools = 0
        for pool, lent in self._lent.items():
            line = self._pools.get(pool)
            if line is None:
                raise ProofInvalid("pool_cannot_pay", f"the pool {pool} has no line")
            if not lent <= u64(line.principal) <= u64(line.amount):
                raise ProofInvalid(
                    "pool_cannot_pay",
                    f"the pool {pool} has {line.amount} tokens for "
                    f"{line.principal} deposited, {lent} of them by vaults",
                )
            pools += lent
        sums = (self._tokens, pools, self._unproven)
        said = tuple(
            map(u64, (entry.reserves.tokens, entry.reserves.pools, entry.reserves.unproven))
        )
        if sums != said:
            raise ProofInvalid(
                "reserves_file", f"the lines' sums {sums} are not the entry's {said}"
            )

    def _add_vault(self, line: VaultLine) -> None:
        if self._pools:
            raise ProofInvalid("reserves_file", f"{line.account} is after the pools")
        if self._token_account_of(line.owner) != line.account:
            raise ProofInvalid(
                "reserves_twice",
                f"{line.account} is not the token account of the vault of {line.owner}",
            )
        key = key_bytes(line.account)
        if key <= self._last:
            raise ProofInvalid("reserves_twice", f"{line.account} is there twice, or out of order")
        self._last = key
        total, lent, amount = u64(line.total), u64(line.lent), u64(line.amount)
        if lent > total or amount < total - lent:
            raise ProofInvalid(
                "not_covered",
                f"{line.account} has {amount} tokens, and the vault of "
                f"{line.owner} holds {total}, of which {lent} are lent",
            )
        self._vaults += 1
        self._books += u64(line.books)
        self._tokens += amount
        if lent and line.pool is None:
            self._unproven += lent
        elif lent:
            if line.principal is None or u64(line.principal) < lent:
                raise ProofInvalid(
                    "pool_cannot_pay",
                    f"the position of the vault of {line.owner} has "
                    f"{line.principal}, and {lent} are lent",
                )
            assert line.pool is not None
            self._lent[line.pool] = self._lent.get(line.pool, 0) + lent

    def _add_pool(self, line: PoolLine) -> None:
        if line.pool in self._pools:
            raise ProofInvalid("reserves_twice", f"the pool {line.pool} is there twice")
        self._pools[line.pool] = line


def encoded(line: Line) -> bytes:
    return canonical(line).encode() + b"\n"


def verify_file(
    entry: LogEntry, lines: Iterable[bytes], *, token_account_of: Derive
) -> Iterator[Line]:
    """Yield each line once it is checked. Raises ProofInvalid, at the latest after the last one."""
    totals = ReserveTotals(entry, token_account_of=token_account_of)
    for line in lines:
        yield totals.add(line)
    totals.finish()


def token_account_of(program: str, mint: str) -> Derive:
    """Return what derives the token account of an owner's vault."""
    key, tokens = Pubkey.from_string(program), Pubkey.from_string(mint)

    def derive(owner: str) -> str:
        vault, _ = Pubkey.find_program_address([b"vault", key_bytes(owner)], key)
        return str(get_associated_token_address(vault, tokens))

    return derive
