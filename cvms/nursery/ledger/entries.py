"""What an event means for owners: lines of their history, and what their subscribers are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event
from cvms.store.index.chain_events import EventRow
from cvms.store.vaults.history import HistoryRow


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One event as one owner sees it. `balance_after` is the vault's total, where it is told."""

    kind: str
    topic: str
    owner: str
    vault: str
    amount: int
    balance_after: int | None


@dataclass(frozen=True, slots=True)
class _EventMapping:
    """The history's kind, the outbox's topic, and the event's fields that hold the numbers."""

    kind: str
    topic: str
    amount: str = "amount"
    balance: str | None = None


# TransactionEvent is not here: the program logs it beside the event that says the same with
# balances. Nor are events about policies and programs: they move nothing.
_MEANINGS: Mapping[type[Event], _EventMapping] = {
    chain.DepositEvent: _EventMapping("deposit", "deposit_event", balance="new_total_balance"),
    chain.WithdrawEvent: _EventMapping("withdraw", "withdraw_event", balance="new_total_balance"),
    chain.EmergencyWithdrawEvent: _EventMapping(
        "emergency_withdraw", "withdraw_event", balance="new_total_balance"
    ),
    chain.LockEvent: _EventMapping("lock", "lock_event"),
    chain.UnlockEvent: _EventMapping("unlock", "unlock_event"),
    chain.TimelockScheduledEvent: _EventMapping("timelock", "timelock_event"),
    chain.TimelocksReleasedEvent: _EventMapping(
        "timelock_release", "timelock_event", amount="released_total"
    ),
    chain.YieldDepositEvent: _EventMapping("yield_deposit", "yield_event"),
    chain.YieldWithdrawEvent: _EventMapping("yield_withdraw", "yield_event"),
    chain.YieldCompoundEvent: _EventMapping(
        "yield_compound", "yield_event", amount="compounded_amount"
    ),
}

TOPICS: Mapping[str, str] = {
    "transfer_in": "transfer_event",
    "transfer_out": "transfer_event",
} | {meaning.kind: meaning.topic for meaning in _MEANINGS.values()}
"""By the history's kind: where its lines are told."""


def ledger_entries(event: Event, owner_of: Mapping[str, str]) -> list[LedgerEntry]:
    """The movements of an event; none where it moves nothing.

    `owner_of` gives the owners of the vaults that count; what others do is left out.
    """
    if isinstance(event, chain.TransferEvent):
        return _transfer(event, owner_of)
    meaning = _MEANINGS.get(type(event))
    if meaning is None:
        return []
    return [
        LedgerEntry(
            meaning.kind,
            meaning.topic,
            owner=owner_of[vault],
            vault=vault,
            amount=getattr(event, meaning.amount),
            balance_after=getattr(event, meaning.balance) if meaning.balance else None,
        )
        for vault in event_vaults(event)
        if vault in owner_of
    ]


def _transfer(event: chain.TransferEvent, owner_of: Mapping[str, str]) -> list[LedgerEntry]:
    sides = [
        ("transfer_out", str(event.from_vault), event.from_new_total_balance),
        ("transfer_in", str(event.to_vault), event.to_new_total_balance),
    ]
    return [
        LedgerEntry(kind, "transfer_event", owner_of[vault], vault, event.amount, balance)
        for kind, vault, balance in sides
        if vault in owner_of
    ]


def counted_by_account(event: Event) -> tuple[str, int, int] | None:
    """The owner whose vault counts the event, and by how much its sums of what was deposited and
    withdrawn grow; None where they do not. An account counts the tokens of any mint.
    """
    match event:
        case chain.DepositEvent():
            return str(event.owner), event.amount, 0
        case chain.WithdrawEvent() | chain.EmergencyWithdrawEvent():
            return str(event.owner), 0, event.amount
    return None


def event_vaults(event: Event) -> list[str]:
    """The vaults an event is about, none for those of the authority."""
    names = ("vault", "from_vault", "to_vault")
    return [str(getattr(event, name)) for name in names if hasattr(event, name)]


def event_owner(event: Event) -> str | None:
    """The owner an event names, if it does."""
    return str(event.owner) if hasattr(event, "owner") else None


def event_data(event: Event) -> dict[str, Any]:
    """The event's fields as JSON: keys in base58, amounts as integers, kinds by name."""
    data: dict[str, Any] = msgspec.to_builtins(event, enc_hook=str)
    if isinstance(event, chain.TransactionEvent):
        data["transaction_type"] = event.transaction_type.name
    return data


def history_row(recorded: RecordedEvent, movement: LedgerEntry) -> HistoryRow:
    """The line of a movement."""
    row = recorded.row
    return HistoryRow(
        owner=movement.owner,
        vault=movement.vault,
        kind=movement.kind,
        amount=movement.amount,
        balance_after=movement.balance_after,
        slot=row.slot,
        block_time=row.block_time,
        signature=row.signature,
        instruction_index=row.instruction_index,
        ordinal=row.ordinal,
        commitment=row.commitment,
    )


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event and its row."""

    event: Event
    row: EventRow
