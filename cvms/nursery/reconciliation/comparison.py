"""Comparison of a vault's row and history with its account, on plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from cvms.chain.program.accounts import SplTokenAccount, Vault
from cvms.chain.types import Slot
from cvms.nursery.ledger.vault_rows import AMOUNTS, CLOSED
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.reconciliation.vault_ledger import HELD, VaultLedger
from cvms.store.vaults.vaults import VaultRow

Heal = Literal["row", "history"]

FIELDS = (
    "row",
    "state",
    *AMOUNTS,
    *(f"history_{name}" for name in ("deposited", "withdrawn", *HELD)),
    "balance_history",
    *(f"balance_history_{name}" for name in HELD),
    "token_account",
)
"""What may differ between a vault and its account."""


@dataclass(frozen=True, slots=True)
class ExpectedState:
    """A vault's account, its token account and the row it should have, as of one slot.

    `vault` is None if the account is closed. An account of another mint has a row of zeros.
    """

    row: VaultRow
    vault: Vault | None
    tokens: SplTokenAccount | None
    slot: Slot


@dataclass(frozen=True, slots=True)
class FieldDifference:
    """One field that differs: `expected` is the chain's value, `actual` the other one.

    `heal` says how it can be repaired: the row from the account, the history and the past balances
    from the vault's transactions. None if the chain differs from itself.
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
        self, chain: ExpectedState, ledger: VaultLedger, *, healed: bool, problem: str | None = None
    ) -> ReconciliationEntry:
        """Return the log entry. `problem` is why the history could not be healed."""
        unproven = problem is not None and not healed and self.heal == "history"
        return reconciliation_log.entry(
            vault=chain.row.vault,
            owner=chain.row.owner,
            field=self.field,
            expected=self.expected,
            actual=self.actual,
            chain_slot=chain.slot,
            row_slot=ledger.row.slot if ledger.row else None,
            healed=healed,
            cause=f"{self.cause}; {problem}" if unproven else self.cause,
        )


@dataclass(frozen=True, slots=True)
class PendingDifference:
    """The oldest reading that differs from the database, unless the row is of a later slot.

    `attempts` counts consecutive such readings at which row and history did not agree either.
    """

    chain: ExpectedState
    attempts: int = 0

    def outdated(self, ledger: VaultLedger) -> bool:
        """Return whether the vault has changed since the reading."""
        return ledger.row is not None and ledger.row.slot > self.chain.slot


def differences(
    chain: ExpectedState, ledger: VaultLedger, *, threshold: int = 0
) -> list[FieldDifference]:
    """Return the fields that differ; amounts only if they differ by more than `threshold` units.

    A difference counts only once the indexer has passed the slot of `chain`, and only if the row is
    not of a later slot. Equality counts at any time.
    """
    checks = (_row, _history, _newest, _tokens)
    found = [each for check in checks for each in check(chain, ledger)]
    return [each for each in found if each.field not in AMOUNTS or abs(each.amount) > threshold]


def _row(chain: ExpectedState, ledger: VaultLedger) -> list[FieldDifference]:
    if ledger.row is None:
        return [FieldDifference("row", chain.row.total, None, "the vault has no row", heal="row")]
    cause = "the row differs from the account, although the indexer has passed its slot"
    expected = {name: getattr(chain.row, name) for name in AMOUNTS}
    found = _differing(expected, ledger.row, cause, heal="row")
    if _without_amounts(ledger.row) != _without_amounts(chain.row):
        found.append(FieldDifference("state", None, None, cause, heal="row"))
    return found


def _without_amounts(row: VaultRow) -> VaultRow:
    zeros: dict[str, Any] = dict.fromkeys(AMOUNTS, 0)
    return replace(row, **zeros, slot=0, updated_at=None)


def _history(chain: ExpectedState, ledger: VaultLedger) -> list[FieldDifference]:
    """Compare the sums of the history with the account's totals and balances.

    The totals show that the history has each deposit and withdrawal once. The totals of a closed
    account are in the offset of the next one, so that a missing line of an earlier account of the
    vault is found as well.
    """
    cause = "the sum of the history differs from the account"
    vault, sums = chain.vault, ledger.sums
    # An emergency withdrawal takes the available balance first and then the locked one, so only
    # the sum of both is linear in the amounts.
    names = [name for name in HELD if not sums.emergencies or name not in ("available", "locked")]
    expected = {
        "deposited": vault.total_deposited if vault else 0,
        "withdrawn": vault.total_withdrawn if vault else 0,
        **{name: getattr(chain.row, name) for name in names},
    }
    return _differing(expected, sums, cause, heal="history", prefix="history_")


def _newest(chain: ExpectedState, ledger: VaultLedger) -> list[FieldDifference]:
    """Compare the newest point of the balance history with the account."""
    cause = "the newest point of the balance history differs from the account"
    if ledger.newest is None:
        return [FieldDifference("balance_history", chain.row.total, None, cause, heal="history")]
    expected = {name: getattr(chain.row, name) for name in HELD}
    return _differing(expected, ledger.newest, cause, heal="history", prefix="balance_history_")


def _differing(
    expected: Mapping[str, int], actual: object, cause: str, *, heal: Heal, prefix: str = ""
) -> list[FieldDifference]:
    """Return the attributes of `actual` that differ from `expected`."""
    return [
        FieldDifference(prefix + name, value, getattr(actual, name), cause, heal)
        for name, value in expected.items()
        if value != getattr(actual, name)
    ]


def _tokens(chain: ExpectedState, _ledger: VaultLedger) -> list[FieldDifference]:
    """Check that the tokens cover what the vault owes and has not deposited for yield."""
    if chain.vault is None or chain.row.state == CLOSED:
        return []
    owed = chain.vault.total_balance - chain.vault.yield_deposited_balance
    held = chain.tokens.amount if chain.tokens else 0
    if held >= owed:
        return []
    cause = "the token account holds less than the vault owes"
    return [FieldDifference("token_account", owed, held, cause, heal=None)]
