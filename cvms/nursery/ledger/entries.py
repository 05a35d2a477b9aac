"""Ledger entries of an event: the history lines of each owner concerned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, get_args

import msgspec

from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event
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
# Events about policies and programs move nothing.
_MAPPINGS: Mapping[type[Event], _EventMapping] = {
    chain.DepositEvent: _EventMapping(Kind.DEPOSIT, balance="new_total_balance"),
    chain.WithdrawEvent: _EventMapping(Kind.WITHDRAW, balance="new_total_balance"),
    chain.EmergencyWithdrawEvent: _EventMapping(
        Kind.EMERGENCY_WITHDRAW, balance="new_total_balance"
    ),
    chain.LockEvent: _EventMapping(Kind.LOCK),
    chain.UnlockEvent: _EventMapping(Kind.UNLOCK),
    chain.TimelockScheduledEvent: _EventMapping(Kind.TIMELOCK),
    chain.TimelocksReleasedEvent: _EventMapping(Kind.TIMELOCK_RELEASE, amount="released_total"),
    chain.YieldDepositEvent: _EventMapping(Kind.YIELD_DEPOSIT),
    chain.YieldWithdrawEvent: _EventMapping(Kind.YIELD_WITHDRAW),
    chain.YieldCompoundEvent: _EventMapping(Kind.YIELD_COMPOUND, amount="compounded_amount"),
}


_VAULT_NAMES = ("vault", "from_vault", "to_vault")
_VAULT_FIELDS: Mapping[type[Event], Sequence[str]] = {
    kind: [field.name for field in fields(kind) if field.name in _VAULT_NAMES]
    for kind in get_args(Event)
}


def ledger_entries(event: Event, owner_of: Mapping[str, str]) -> list[LedgerEntry]:
    """Return the entries of an event; none if it moves nothing.

    `owner_of` maps the vaults that are tracked to their owners. Other vaults get no entry.
    """
    if isinstance(event, chain.TransferEvent):
        return _transfer(event, owner_of)
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


def _transfer(event: chain.TransferEvent, owner_of: Mapping[str, str]) -> list[LedgerEntry]:
    sides = [
        (Kind.TRANSFER_OUT, str(event.from_vault), event.from_new_total_balance),
        (Kind.TRANSFER_IN, str(event.to_vault), event.to_new_total_balance),
    ]
    return [
        LedgerEntry(kind, owner_of[vault], vault, event.amount, balance)
        for kind, vault, balance in sides
        if vault in owner_of
    ]


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
    """An event and its row of `chain_events`."""

    event: Event
    row: EventRow
