"""Difference between a vault's history on the chain and in the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from cvms.chain.types import Slot
from cvms.nursery.reconciliation.chain_history import VaultHistory
from cvms.store.index.chain_events import EventRow
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.vaults.history import HistoryRow

LineKey = tuple[str, int, int, str]
RowT = TypeVar("RowT", EventRow, HistoryRow)


@dataclass(frozen=True, slots=True)
class HistoryChange:
    """An event or history line, on the chain and as stored. One of the two may be None."""

    chain: EventRow | HistoryRow | None
    stored: EventRow | HistoryRow | None

    def entry(self, history: VaultHistory) -> ReconciliationEntry:
        """Return the entry for `reconciliation_logs`."""
        row = self.chain or self.stored
        assert row is not None
        return reconciliation_log.entry(
            vault=history.address,
            owner=history.owner,
            field="event" if isinstance(row, EventRow) else "history_line",
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
    """Changes, and the rows to remove and add for them.

    Lines are replaced slot by slot, since `id` has to follow the chain's order within each slot.
    """

    changes: tuple[HistoryChange, ...]
    remove_events: tuple[EventRow, ...]
    add_events: tuple[EventRow, ...]
    remove_lines: tuple[HistoryRow, ...]
    add_lines: tuple[HistoryRow, ...]

    @property
    def removed(self) -> list[HistoryRow]:
        """The stored lines that the chain does not have, or has with other values."""
        return [each.stored for each in self.changes if isinstance(each.stored, HistoryRow)]

    @property
    def added(self) -> list[HistoryRow]:
        """The chain's lines that are not stored, or are stored with other values."""
        return [each.chain for each in self.changes if isinstance(each.chain, HistoryRow)]


def diff_history(
    history: VaultHistory, events: Sequence[EventRow], lines: Sequence[HistoryRow], *, reached: Slot
) -> HistoryDiff:
    """Return the difference between the chain's history and the stored events and lines.

    Rows of slots after the history and up to `reached`, the last indexed slot, are left alone.
    """
    event_changes = _event_changes(history, events, reached=reached)
    line_changes, removed, added = _line_changes(history, lines, reached=reached)
    return HistoryDiff(
        changes=(*event_changes, *line_changes),
        remove_events=tuple(e.stored for e in event_changes if isinstance(e.stored, EventRow)),
        add_events=tuple(e.chain for e in event_changes if isinstance(e.chain, EventRow)),
        remove_lines=tuple(removed),
        add_lines=tuple(added),
    )


def _event_changes(
    history: VaultHistory, events: Sequence[EventRow], *, reached: Slot
) -> list[HistoryChange]:
    chain = {_key(row): row for row in history.events}
    return _changes(chain, _in_scope(events, chain, history.through, reached))


def _line_changes(
    history: VaultHistory, lines: Sequence[HistoryRow], *, reached: Slot
) -> tuple[list[HistoryChange], list[HistoryRow], list[HistoryRow]]:
    chain = {_key(line): line for line in history.lines}
    stored = _in_scope(lines, chain, history.through, reached)
    changes = _changes(chain, stored)
    stored_by_slot, chain_by_slot = _by_slot(stored.values()), _by_slot(chain.values())
    removed: list[HistoryRow] = []
    added: list[HistoryRow] = []
    for slot in sorted({*stored_by_slot, *chain_by_slot}):
        before, now = stored_by_slot.get(slot, []), chain_by_slot.get(slot, [])
        if len(before) != len(now) or any(map(_differ, now, before)):
            removed += before
            added += now
    if not changes:  # the lines are the same, in another order
        changes = [HistoryChange(line, stored[_key(line)]) for line in added]
    return changes, removed, added


def _differ(chain: HistoryRow, stored: HistoryRow) -> bool:
    return _key(chain) != _key(stored) or bool(_differing(chain, stored))


def _changes(chain: Mapping[LineKey, RowT], stored: Mapping[LineKey, RowT]) -> list[HistoryChange]:
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
    expected = replace(chain, block_time=time)
    return [
        name
        for name in type(chain).__slots__
        if name not in ("id", "commitment") and getattr(expected, name) != getattr(stored, name)
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
