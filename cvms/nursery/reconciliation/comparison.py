"""A vault's row and history against its account: what differs, decided on plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from cvms.chain.program.accounts import SplTokenAccount, Vault
from cvms.chain.types import Slot
from cvms.nursery.ledger.vault_rows import CLOSED
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.reconciliation.vault_ledger import HELD, VaultLedger
from cvms.store.vaults.vaults import VaultRow

Heal = Literal["row", "history"]

AMOUNTS = (*HELD, "total_deposited", "total_withdrawn")


@dataclass(frozen=True, slots=True)
class ExpectedState:
    """A vault's account and the row's token account as of one slot; `row` is what it should be.

    `vault` is None when the account is gone. One over another mint has a row that holds nothing.
    """

    row: VaultRow
    vault: Vault | None
    tokens: SplTokenAccount | None
    slot: Slot


@dataclass(frozen=True, slots=True)
class Difference:
    """One field: `expected` by the chain, `actual` by what is held against it.

    `heal` says how it may be set right: the row from the account, the history (and what the
    balances were) from the vault's transactions; the chain itself not at all.
    """

    field: str
    expected: int | None
    actual: int | None
    cause: str
    heal: Heal | None

    @property
    def amount(self) -> int:
        return (self.expected or 0) - (self.actual or 0)

    def entry(
        self, chain: ExpectedState, books: VaultLedger, *, healed: bool, problem: str | None = None
    ) -> ReconciliationEntry:
        """The line of reconciliation_logs; `problem` is why the history could not be healed."""
        unproven = problem is not None and not healed and self.heal == "history"
        return reconciliation_log.entry(
            vault=chain.row.vault,
            owner=chain.row.owner,
            field=self.field,
            expected=self.expected,
            actual=self.actual,
            chain_slot=chain.slot,
            row_slot=books.row.slot if books.row else None,
            healed=healed,
            cause=f"{self.cause}; {problem}" if unproven else self.cause,
        )


def differences(
    chain: ExpectedState, ledger: VaultLedger, *, threshold: int = 0
) -> list[Difference]:
    """Every field that differs; amounts by more than `threshold` units, the rest at all.

    Meaningful once nothing is in flight: the indexer has passed the chain's slot, and the row is
    not of a later one. Equality is meaningful at any time.
    """
    found = [
        *_row(chain, ledger),
        *_history(chain, ledger),
        *_newest(chain, ledger),
        *_tokens(chain),
    ]
    return [each for each in found if each.field not in AMOUNTS or abs(each.amount) > threshold]


def _row(chain: ExpectedState, ledger: VaultLedger) -> list[Difference]:
    if ledger.row is None:
        return [Difference("row", chain.row.total, None, "the vault has no row", heal="row")]
    cause = "the row is not the account, though the indexer has passed its slot"
    found = [
        Difference(name, getattr(chain.row, name), getattr(ledger.row, name), cause, heal="row")
        for name in AMOUNTS
        if getattr(chain.row, name) != getattr(ledger.row, name)
    ]
    if _without_amounts(ledger.row) != _without_amounts(chain.row):
        found.append(Difference("state", None, None, cause, heal="row"))
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


def _history(chain: ExpectedState, ledger: VaultLedger) -> list[Difference]:
    """Every movement once: the account's sums say so, whatever the balances are.

    What a closed account counted is in the offset of the next one, so that a line that is missing
    from an earlier life of the vault is found as well. What locks, timelocks and yields leave has
    to be what the account holds.
    """
    cause = "the history's sum is not the account's"
    vault, sums = chain.vault, ledger.sums
    # An emergency takes what is available first, then what is locked: only their sum is linear.
    held = [name for name in HELD if not sums.emergencies or name not in ("available", "locked")]
    pairs = [
        ("deposited", vault.total_deposited if vault else 0),
        ("withdrawn", vault.total_withdrawn if vault else 0),
        *((name, getattr(chain.row, name)) for name in held),
    ]
    return [
        Difference(f"history_{name}", expected, getattr(sums, name), cause, heal="history")
        for name, expected in pairs
        if expected != getattr(sums, name)
    ]


def _newest(chain: ExpectedState, ledger: VaultLedger) -> list[Difference]:
    """What the vault is said to have held last is what it holds."""
    cause = "the newest of the balances as they were is not what the account holds"
    newest = ledger.newest
    if newest is None:
        return [Difference("balance_history", chain.row.total, None, cause, heal="history")]
    return [
        Difference(
            f"balance_history_{name}",
            getattr(chain.row, name),
            getattr(newest, name),
            cause,
            heal="history",
        )
        for name in HELD
        if getattr(chain.row, name) != getattr(newest, name)
    ]


def _tokens(chain: ExpectedState) -> list[Difference]:
    """The chain against itself: the tokens have to cover what is not out for yield."""
    if chain.vault is None or chain.row.state == CLOSED:
        return []
    owed = chain.vault.total_balance - chain.vault.yield_deposited_balance
    held = chain.tokens.amount if chain.tokens else 0
    if held >= owed:
        return []
    cause = "the token account holds less than the vault owes"
    return [Difference("token_account", owed, held, cause, heal=None)]
