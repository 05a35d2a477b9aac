"""What has to be taken out of a vault's books and put in, so that they are the chain's."""

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

Key = tuple[str, int, int, str]
Row = TypeVar("Row", EventRow, HistoryRow)


@dataclass(frozen=True, slots=True)
class Change:
    """An event or a line: as the chain has it, as the books have it. One of them may be None."""

    chain: EventRow | HistoryRow | None
    books: EventRow | HistoryRow | None

    def entry(self, history: VaultHistory) -> ReconciliationEntry:
        """The line of reconciliation_logs that tells of it."""
        told = self.chain or self.books
        assert told is not None
        return reconciliation_log.entry(
            vault=history.address,
            owner=history.owner,
            field="event" if isinstance(told, EventRow) else "history_line",
            expected=_amount(self.chain),
            actual=_amount(self.books),
            chain_slot=history.through,
            row_slot=self.books.slot if self.books else None,
            healed=True,
            cause=self._cause(told),
        )

    def _cause(self, told: EventRow | HistoryRow) -> str:
        thing = told.name if isinstance(told, EventRow) else f"{told.kind} line"
        if self.chain is None:
            what = f"{thing} in the books, which no final transaction of the vault has"
        elif self.books is None:
            what = f"{thing} missing from the books"
        else:
            names = ", ".join(_differing(self.chain, self.books)) or "place within its slot"
            what = f"{thing} altered in the books: {names}"
        return (
            f"{what}: signature {told.signature}, slot {told.slot}, instruction "
            f"{told.instruction_index}, event {told.ordinal}"
        )


@dataclass(frozen=True, slots=True)
class HistoryDiff:
    """Lines are exchanged slot by slot: `id` has to follow the chain's order within each."""

    changes: tuple[Change, ...]
    remove_events: tuple[EventRow, ...]
    add_events: tuple[EventRow, ...]
    remove_lines: tuple[HistoryRow, ...]
    add_lines: tuple[HistoryRow, ...]

    @property
    def removed(self) -> list[HistoryRow]:
        """The lines that the chain does not have, or has otherwise."""
        return [each.books for each in self.changes if isinstance(each.books, HistoryRow)]

    @property
    def added(self) -> list[HistoryRow]:
        """The lines that the books did not have, or had otherwise."""
        return [each.chain for each in self.changes if isinstance(each.chain, HistoryRow)]


def diff_history(
    history: VaultHistory, events: Sequence[EventRow], lines: Sequence[HistoryRow], *, reached: Slot
) -> HistoryDiff:
    """What differs between the chain's history and these events and lines of the books.

    What is recorded of slots behind the history is left alone, up to what is indexed (`reached`).
    """
    found_events = _event_changes(history, events, reached=reached)
    found_lines, removed, added = _line_changes(history, lines, reached=reached)
    return HistoryDiff(
        changes=(*found_events, *found_lines),
        remove_events=tuple(e.books for e in found_events if isinstance(e.books, EventRow)),
        add_events=tuple(e.chain for e in found_events if isinstance(e.chain, EventRow)),
        remove_lines=tuple(removed),
        add_lines=tuple(added),
    )


def _event_changes(
    history: VaultHistory, events: Sequence[EventRow], *, reached: Slot
) -> list[Change]:
    of_chain = {_key(row): row for row in history.events}
    of_books = {
        _key(row): row
        for row in events
        if _key(row) in of_chain or _in_scope(row.slot, history.through, reached)
    }
    return _changes(of_chain, of_books)


def _line_changes(
    history: VaultHistory, lines: Sequence[HistoryRow], *, reached: Slot
) -> tuple[list[Change], list[HistoryRow], list[HistoryRow]]:
    of_chain = {_key(line): line for line in history.lines}
    of_books = {
        _key(line): line
        for line in lines
        if _key(line) in of_chain or _in_scope(line.slot, history.through, reached)
    }
    changes = _changes(of_chain, of_books)
    here, there = _by_slot(of_books.values()), _by_slot(of_chain.values())
    removed: list[HistoryRow] = []
    added: list[HistoryRow] = []
    for slot in sorted({*here, *there}):
        before, now = here.get(slot, []), there.get(slot, [])
        if len(before) != len(now) or any(map(_differ, now, before)):
            removed += before
            added += now
    told = {_key(each) for change in changes for each in (change.chain, change.books) if each}
    moved = [line for line in added if _key(line) not in told]
    out_of_order = [] if changes else [Change(line, of_books[_key(line)]) for line in moved]
    return [*changes, *out_of_order], removed, added


def _differ(chain: HistoryRow, books: HistoryRow) -> bool:
    return _key(chain) != _key(books) or bool(_differing(chain, books))


def _changes(of_chain: Mapping[Key, Row], of_books: Mapping[Key, Row]) -> list[Change]:
    changes = []
    for key in dict.fromkeys([*of_chain, *of_books]):
        chain, books = of_chain.get(key), of_books.get(key)
        if chain is None or books is None or _differing(chain, books):
            changes.append(Change(chain, books))
    return changes


def _in_scope(slot: int, through: Slot, reached: Slot) -> bool:
    """Nothing can be recorded of a slot that is not indexed."""
    return slot <= through or slot > reached


def _differing(chain: EventRow | HistoryRow, books: EventRow | HistoryRow) -> list[str]:
    """The columns that are not the chain's. Some nodes tell no block time."""
    time = books.block_time if chain.block_time is None else chain.block_time
    expected = replace(chain, block_time=time)
    return [
        name
        for name in type(chain).__slots__
        if name not in ("id", "commitment") and getattr(expected, name) != getattr(books, name)
    ]


def _by_slot(lines: Iterable[HistoryRow]) -> dict[int, list[HistoryRow]]:
    found: dict[int, list[HistoryRow]] = {}
    for line in lines:
        found.setdefault(line.slot, []).append(line)
    return found


def _key(row: EventRow | HistoryRow) -> Key:
    kind = row.kind if isinstance(row, HistoryRow) else ""
    return row.signature, row.instruction_index, row.ordinal, kind


def _amount(row: EventRow | HistoryRow | None) -> int | None:
    if row is None:
        return None
    if isinstance(row, HistoryRow):
        return row.amount
    amount = row.data.get("amount")
    return amount if isinstance(amount, int) else None
