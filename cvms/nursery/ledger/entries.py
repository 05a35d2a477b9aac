"""Ledger entries of an event: the history lines of each owner concerned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, get_args

import msgspec

from cvms.chain.program.events import events as chain
from cvms.chain.program.events import guard_events as guards
from cvms.chain.program.events.events import Event
from cvms.chain.program.guard_changes import GuardChange, guard_change_data
from cvms.store.index.chain_events import EventRow
from cvms.store.vaults.history import HistoryRow, Kind


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One event as an owner sees it. `balance_after` is the vault's total if the event holds it."""

    kind: Kind
    owner: str
    vault: str
    amount: int
    balance_after: int | None


@dataclass(frozen=True, slots=True)
class _EventMapping:
    """The kind in the history, and the names of the event's fields."""

    kind: Kind
    amount: str = "amount"
    balance: str | None = None


# TransactionEvent is left out: the program logs it beside an event that holds the balances too.
# Events about policies and programs move nothing, nor do swept tokens, which no balance counted.
_MAPPINGS: Mapping[type[Event], _EventMapping] = {
    chain.DepositEvent: _EventMapping(Kind.DEPOSIT, balance="new_total_balance"),
    chain.WithdrawEvent: _EventMapping(Kind.WITHDRAW, balance="new_total_balance"),
    chain.EmergencyWithdrawEvent: _EventMapping(
        Kind.EMERGENCY_WITHDRAW, balance="new_total_balance"
    ),
    chain.LockEvent: _EventMapping(Kind.LOCK),
    chain.UnlockEvent: _EventMapping(Kind.UNLOCK),
    guards.CollateralReleasedEvent: _EventMapping(Kind.UNLOCK),
    chain.TimelockScheduledEvent: _EventMapping(Kind.TIMELOCK),
    chain.TimelocksReleasedEvent: _EventMapping(Kind.TIMELOCK_RELEASE, amount="released_total"),
    guards.TimelockCancelledEvent: _EventMapping(Kind.TIMELOCK_RELEASE),
    chain.YieldDepositEvent: _EventMapping(Kind.YIELD_DEPOSIT),
    chain.YieldWithdrawEvent: _EventMapping(Kind.YIELD_WITHDRAW),
    chain.YieldCompoundEvent: _EventMapping(Kind.YIELD_COMPOUND, amount="compounded_amount"),
}


_VAULT_NAMES = ("vault", "from_vault", "to_vault")
_VAULT_FIELDS: Mapping[type[Event], Sequence[str]] = {
    kind: [field.name for field in fields(kind) if field.name in _VAULT_NAMES]
    for kind in get_args(Event)
}


def ledger_entries(
    event: Event,
    owner_of: Mapping[str, str],
    *,
    block_time: datetime | None = None,
    details: chain.CollateralTransferredEvent | None = None,
) -> list[LedgerEntry]:
    """Return the entries of an event; none if it moves nothing.

    `owner_of` maps the vaults that are tracked to their owners. Other vaults get no entry.
    `details` of a transfer: see RecordedEvent.
    """
    if isinstance(event, chain.TransferEvent):
        return _transfer(event, owner_of, details)
    if isinstance(event, guards.TimelockCancelledEvent) and not _released(event, block_time):
        return []
    mapping = _MAPPINGS.get(type(event))
    if mapping is None:
        return []
    return [
        LedgerEntry(
            mapping.kind,
            owner=owner_of[vault],
            vault=vault,
            amount=getattr(event, mapping.amount),
            balance_after=getattr(event, mapping.balance) if mapping.balance else None,
        )
        for vault in event_vaults(event)
        if vault in owner_of
    ]


def _released(event: guards.TimelockCancelledEvent, block_time: datetime | None) -> bool:
    """Return whether the timelock has ended, rather than only its end been brought forward."""
    return block_time is not None and event.new_unlock_time <= block_time.timestamp()


def _transfer(
    event: chain.TransferEvent,
    owner_of: Mapping[str, str],
    details: chain.CollateralTransferredEvent | None,
) -> list[LedgerEntry]:
    """Return an entry for each side, and before them one that unlocks what was locked of it."""
    unlocked = (details and details.from_locked) or 0
    sides = [
        (Kind.UNLOCK, str(event.from_vault), unlocked, None),
        (Kind.TRANSFER_OUT, str(event.from_vault), event.amount, event.from_new_total_balance),
        (Kind.TRANSFER_IN, str(event.to_vault), event.amount, event.to_new_total_balance),
    ]
    return [
        LedgerEntry(kind, owner_of[vault], vault, amount, balance)
        for kind, vault, amount, balance in sides
        if vault in owner_of and (amount or kind is not Kind.UNLOCK)
    ]


def transfer_details(
    event: Event, later: Iterable[Event]
) -> chain.CollateralTransferredEvent | None:
    """Return the event that the program logs after a transfer, given those after it.

    Programs before this one did not log it.
    """
    if not isinstance(event, chain.TransferEvent):
        return None
    for other in later:
        if isinstance(other, chain.CollateralTransferredEvent):
            same = (event.from_vault, event.to_vault, event.amount)
            return other if (other.from_vault, other.to_vault, other.amount) == same else None
        if isinstance(other, chain.TransferEvent):
            return None
    return None


def counted_by_account(event: Event) -> tuple[str, int, int] | None:
    """Return the owner whose account counts the event, the amount deposited and the one withdrawn.

    None if the event changes neither total. An account counts the tokens of any mint.
    """
    match event:
        case chain.DepositEvent():
            return str(event.owner), event.amount, 0
        case chain.WithdrawEvent() | chain.EmergencyWithdrawEvent():
            return str(event.owner), 0, event.amount
    return None


def event_vaults(event: Event) -> list[str]:
    """Return the vaults an event is about; none for the events of the vault authority."""
    return [str(getattr(event, name)) for name in _VAULT_FIELDS[type(event)]]


def event_data(event: Event) -> dict[str, Any]:
    """Return the event's fields as JSON: keys in base58, amounts as integers, kinds by name."""
    data: dict[str, Any] = msgspec.to_builtins(event, enc_hook=str)
    if isinstance(event, chain.TransactionEvent):
        data["transaction_type"] = event.transaction_type.name
    if isinstance(change := getattr(event, "change", None), GuardChange):
        data["change"] = guard_change_data(change)
    return data


def history_row(recorded: RecordedEvent, entry: LedgerEntry) -> HistoryRow:
    """Return the history line of an entry."""
    row = recorded.row
    return HistoryRow(
        owner=entry.owner,
        vault=entry.vault,
        kind=entry.kind,
        amount=entry.amount,
        balance_after=entry.balance_after,
        slot=row.slot,
        block_time=row.block_time,
        signature=row.signature,
        instruction_index=row.instruction_index,
        ordinal=row.ordinal,
        commitment=row.commitment,
    )


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event and its row of `chain_events`.

    `details` of a transfer is the event that says who called and how much was locked.
    """

    event: Event
    row: EventRow
    details: chain.CollateralTransferredEvent | None = None

    def entries(self, owner_of: Mapping[str, str]) -> list[LedgerEntry]:
        """Return what `ledger_entries` returns for the event."""
        time = self.row.block_time
        return ledger_entries(self.event, owner_of, block_time=time, details=self.details)
