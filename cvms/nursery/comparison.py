"""A vault's row and history against its account: what differs, decided on plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cvms.chain.accounts import TokenAccount, Vault
from cvms.chain.types import Slot
from cvms.nursery.vault_rows import CLOSED, MOST
from cvms.store.reconciliation import ReconciliationEntry
from cvms.store.vaults import VaultRow

AMOUNTS = (
    "total",
    "available",
    "locked",
    "timelocked",
    "yield_deposited",
    "total_deposited",
    "total_withdrawn",
)


@dataclass(frozen=True, slots=True)
class OnChain:
    """A vault's account and the row's token account as of one slot; `row` is what it should be.

    `vault` is None when the account is gone. One over another mint has a row that holds nothing.
    """

    row: VaultRow
    vault: Vault | None
    tokens: TokenAccount | None
    slot: Slot


@dataclass(frozen=True, slots=True)
class InBooks:
    """A vault's row, and what its account should count by the history, as of one moment."""

    row: VaultRow | None
    deposited: int
    withdrawn: int


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: `expected` by the chain, `actual` by what is held against it."""

    field: str
    expected: int | None
    actual: int | None
    cause: str
    healable: bool

    @property
    def amount(self) -> int:
        return (self.expected or 0) - (self.actual or 0)

    def entry(self, chain: OnChain, books: InBooks, *, healed: bool) -> ReconciliationEntry:
        """The line of reconciliation_logs."""
        return ReconciliationEntry(
            vault=chain.row.vault,
            owner=chain.row.owner,
            field=self.field,
            expected=_column(self.expected),
            actual=_column(self.actual),
            difference=_column(self.amount) or 0,
            chain_slot=chain.slot,
            row_slot=books.row.slot if books.row else None,
            healed=healed and self.healable,
            cause=self.cause,
        )


def differences(chain: OnChain, books: InBooks, *, threshold: int = 0) -> list[Difference]:
    """Every field that differs; amounts by more than `threshold` units, the rest at all.

    Meaningful once nothing is in flight: the indexer has passed the chain's slot, and the row is
    not of a later one. Equality is meaningful at any time.
    """
    found = [*_row(chain, books), *_history(chain, books), *_tokens(chain)]
    return [each for each in found if each.field not in AMOUNTS or abs(each.amount) > threshold]


def _row(chain: OnChain, books: InBooks) -> list[Difference]:
    if books.row is None:
        return [Difference("row", chain.row.total, None, "the vault has no row", healable=True)]
    cause = "the row is not the account, though the indexer has passed its slot"
    found = [
        Difference(name, getattr(chain.row, name), getattr(books.row, name), cause, healable=True)
        for name in AMOUNTS
        if getattr(chain.row, name) != getattr(books.row, name)
    ]
    if _without_amounts(books.row) != _without_amounts(chain.row):
        found.append(Difference("state", None, None, cause, healable=True))
    return found


def _without_amounts(row: VaultRow) -> VaultRow:
    return replace(
        row,
        total=0,
        available=0,
        locked=0,
        timelocked=0,
        yield_deposited=0,
        total_deposited=0,
        total_withdrawn=0,
        slot=0,
        updated_at=None,
    )


def _history(chain: OnChain, books: InBooks) -> list[Difference]:
    """Every movement once: the account's sums say so, whatever the balances are.

    What a closed account counted is in the offset of the next one, so that a line that is missing
    from an earlier life of the vault is found as well.
    """
    cause = "the history's sum is not the account's"
    vault = chain.vault
    pairs = [
        ("history_deposited", vault.total_deposited if vault else 0, books.deposited),
        ("history_withdrawn", vault.total_withdrawn if vault else 0, books.withdrawn),
    ]
    return [
        Difference(field, expected, actual, cause, healable=False)
        for field, expected, actual in pairs
        if expected != actual
    ]


def _tokens(chain: OnChain) -> list[Difference]:
    """The chain against itself: the tokens have to cover what is not out for yield."""
    if chain.vault is None or chain.row.state == CLOSED:
        return []
    owed = chain.vault.total_balance - chain.vault.yield_deposited_balance
    held = chain.tokens.amount if chain.tokens else 0
    if held >= owed:
        return []
    cause = "the token account holds less than the vault owes"
    return [Difference("token_account", owed, held, cause, healable=False)]


def _column(amount: int | None) -> int | None:
    """As near as the log's column comes to it: an account's sums may be twice what that holds."""
    return None if amount is None else max(-MOST, min(amount, MOST))
