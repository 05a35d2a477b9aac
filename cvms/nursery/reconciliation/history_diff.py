"""Difference between a vault's history on the chain and in the database."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cvms.chain.types import Slot
from cvms.nursery.reconciliation.chain_history import VaultHistory
from cvms.store.index.chain_events import EventRow
from cvms.store.postgres.row_mapping import columns
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.vaults.history import HistoryRow

EVENT, HISTORY_LINE = "event", "history_line"
"""The fields of a log entry about what was written again."""

LineKey = tuple[str, int, int, str]
RowT = TypeVar("RowT", EventRow, HistoryRow)


@dataclass(frozen=True, slots=True)
class HistoryChange(Generic[RowT]):
    """An event or history line, on the chain and as stored. One of the two may be None."""

    chain: RowT | None
    stored: RowT | None

    def entry(self, history: VaultHistory) -> ReconciliationEntry:
        """Return the entry for `reconciliation_logs`."""
        row = self.chain or self.stored
        assert row is not None
        return reconciliation_log.entry(
            vault=history.address,
            owner=history.owner,
            field=EVENT if isinstance(row, EventRow) else HISTORY_LINE,
            expected=_amount(self.chain),
            actual=_amount(self.stored),
            chain_slot=history.through,
            row_slot=self.stored.slot if self.stored else None,
            healed=True,
            cause=self._cause(row),
        )

    def _cause(self, row: EventRow | HistoryRow) -> str:
        name = row.name if isinstance(row, EventRow) else f"{row.kind} line"
        if self.chain is None:
            problem = f"{name} in the database, but in no finalized transaction of the vault"
        elif self.stored is None:
            problem = f"{name} missing from the database"
        else:
            columns = ", ".join(_differing(self.chain, self.stored)) or "position within its slot"
            problem = f"{name} altered in the database: {columns}"
        return (
            f"{problem}: signature {row.signature}, slot {row.slot}, instruction "
            f"{row.instruction_index}, event {row.ordinal}"
        )


@dataclass(frozen=True, slots=True)
class HistoryDiff:
    """Changes of events and of lines, and the lines to remove and add for them.

    Lines are replaced slot by slot, since `id` has to follow the chain's order within each slot.
    """

    events: list[HistoryChange[EventRow]]
    lines: list[HistoryChange[HistoryRow]]
    remove_lines: list[HistoryRow]
    add_lines: list[HistoryRow]

    def unlisted(self, listed: Container[str]) -> dict[str, Slot]:
        """Return the slots of the stored transactions that are not listed, by signature."""
        changes: list[HistoryChange[Any]] = [*self.events, *self.lines]
        rows = [row for each in changes if each.chain is None and (row := each.stored)]
        return {row.signature: Slot(row.slot) for row in rows if row.signature not in listed}


def diff_history(
    history: VaultHistory, events: Sequence[EventRow], lines: Sequence[HistoryRow], *, reached: Slot
) -> HistoryDiff:
    """Return the difference between the chain's history and the stored events and lines.

    Rows of slots after the history and up to `reached`, the last indexed slot, are left alone.
    """
    chain_events = {_key(row): row for row in history.events}
    stored_events = _in_scope(events, chain_events, history.through, reached)
    chain_lines = {_key(line): line for line in history.lines}
    stored_lines = _in_scope(lines, chain_lines, history.through, reached)
    line_changes = _changes(chain_lines, stored_lines)
    removed, added = _changed_slots(chain_lines.values(), stored_lines.values())
    if not line_changes:  # the lines are the same, in another order
        line_changes = [HistoryChange(line, stored_lines[_key(line)]) for line in added]
    return HistoryDiff(_changes(chain_events, stored_events), line_changes, removed, added)


def _changed_slots(
    chain: Iterable[HistoryRow], stored: Iterable[HistoryRow]
) -> tuple[list[HistoryRow], list[HistoryRow]]:
    """Return the stored lines and the chain's lines of the slots in which they differ."""
    chain_by_slot, stored_by_slot = _by_slot(chain), _by_slot(stored)
    removed: list[HistoryRow] = []
    added: list[HistoryRow] = []
    for slot in sorted({*stored_by_slot, *chain_by_slot}):
        before, now = stored_by_slot.get(slot, []), chain_by_slot.get(slot, [])
        if list(map(_key, now)) != list(map(_key, before)) or any(map(_differing, now, before)):
            removed += before
            added += now
    return removed, added


def _changes(
    chain: Mapping[LineKey, RowT], stored: Mapping[LineKey, RowT]
) -> list[HistoryChange[RowT]]:
    return [
        HistoryChange(chain.get(key), stored.get(key))
        for key in dict.fromkeys([*chain, *stored])
        if key not in chain or key not in stored or _differing(chain[key], stored[key])
    ]


def _in_scope(
    rows: Iterable[RowT], chain: Mapping[LineKey, RowT], through: Slot, reached: Slot
) -> dict[LineKey, RowT]:
    """Return the rows that the chain has, is expected to have, or cannot have been indexed yet."""
    return {
        _key(row): row
        for row in rows
        if _key(row) in chain or row.slot <= through or row.slot > reached
    }


def _differing(chain: EventRow | HistoryRow, stored: EventRow | HistoryRow) -> list[str]:
    """Return the columns that differ. A block time that the node does not know is no difference."""
    time = stored.block_time if chain.block_time is None else chain.block_time
    expected = {name: getattr(chain, name) for name in columns(type(chain))} | {"block_time": time}
    return [
        name
        for name, value in expected.items()
        if name not in ("id", "commitment") and value != getattr(stored, name)
    ]


def _by_slot(lines: Iterable[HistoryRow]) -> dict[int, list[HistoryRow]]:
    by_slot: dict[int, list[HistoryRow]] = {}
    for line in lines:
        by_slot.setdefault(line.slot, []).append(line)
    return by_slot


def _key(row: EventRow | HistoryRow) -> LineKey:
    kind = row.kind if isinstance(row, HistoryRow) else ""
    return row.signature, row.instruction_index, row.ordinal, kind


def _amount(row: EventRow | HistoryRow | None) -> int | None:
    if row is None:
        return None
    if isinstance(row, HistoryRow):
        return row.amount
    amount = row.data.get("amount")
    return amount if isinstance(amount, int) else None
