"""Statements of vaults: the balances at two slots, and all that changed them between.

Only final slots count. A part of a statement ends with a slot, so parts join, and each adds up:
where a vault's account is known to differ from its history (see balance_history), a line of kind
`correction` holds the difference.

Call these functions on one snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter

import msgspec

from cvms.amounts import Amount
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    columns,
    fetch_exactly_one,
    fetch_structs,
    fetch_value,
    query_for,
)
from cvms.store.vaults import balance_history, history
from cvms.store.vaults.balance_history import BalancePoint
from cvms.store.vaults.history import Balances, HistoryRow, change_of

CORRECTION = "correction"

FORK_SLOTS = 150
"""A confirmed block that so many slots follow is final: a vote cannot be taken back as long."""

# The last final transaction before the first one that is not final; on a quiet chain, the slot that
# so many others follow.
FINAL_FRONTIER = """
WITH unsettled AS (
    SELECT min(slot) AS slot
    FROM applied
    WHERE NOT final
)
SELECT greatest(
           (
               SELECT max(applied.slot)
               FROM applied
               WHERE final
                 AND (unsettled.slot IS NULL OR applied.slot < unsettled.slot)
           ),
           least(
               (SELECT through FROM indexer_cursor WHERE program = %(program)s) - %(fork_slots)s,
               unsettled.slot - 1
           ),
           -1
       ) AS slot,
       unsettled.slot IS NULL AS settled,
       (SELECT at FROM snapshot_head) AS indexed_until
FROM unsettled
"""

# Everything before a time is in the slots before the first movement from then on.
SLOT_OF_TIME = """
SELECT slot
FROM balance_history
WHERE block_time >= %(time)s
ORDER BY block_time, slot
LIMIT 1
"""

LINES = query_for(
    HistoryRow,
    """
    SELECT {columns}
    FROM transactions
    WHERE owner = %(owner)s
      AND slot >= %(first)s
      AND slot < %(end)s
    ORDER BY slot, id
    LIMIT %(limit)s
    """,
)

POINTS = """
SELECT slot, total, available, locked, timelocked, yield_deposited
FROM balance_history
WHERE owner = %(owner)s
  AND slot >= %(first)s
  AND slot < %(end)s
ORDER BY slot
"""

Moment = int | datetime
"""A slot or a time."""


@dataclass(frozen=True, slots=True)
class FinalFrontier:
    """The last slot that counts, -1 if there is none.

    It is `settled` if nothing later is applied. All before `indexed_until` is applied and final
    then, which is None before the first full hour.
    """

    slot: int
    settled: bool
    indexed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Interval:
    """The slots from `first` to before `end`.

    It is `complete` if all that was asked for is in it: the end was not brought forward to the last
    final slot.
    """

    first: int
    end: int
    complete: bool


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """A change of a vault's balances, and the balances after it.

    A correction has neither a time nor a signature.
    """

    slot: int
    block_time: datetime | None
    kind: str
    amount: Amount
    signature: str | None
    instruction_index: int | None
    ordinal: int | None
    change: Balances
    balances: Balances


@dataclass(frozen=True, slots=True)
class Part:
    """The slots of a statement from `first` to before `end`. The closing balances are those of the
    last line, or else the opening ones.
    """

    first: int
    end: int
    opening: Balances
    closing: Balances
    lines: list[StatementLine]


async def final_frontier(conn: Connection, program: str) -> FinalFrontier:
    """Return up to where statements may go."""
    params = {"program": program, "fork_slots": FORK_SLOTS}
    return await fetch_exactly_one(conn, FinalFrontier, FINAL_FRONTIER, params)


async def interval(
    conn: Connection, frontier: FinalFrontier, *, since: Moment | None, until: Moment | None
) -> Interval:
    """Return the final slots from `since` to before `until`; by default all of them."""
    final_end = frontier.slot + 1
    end, complete = final_end, True
    if until is not None and (wanted := await slot_of(conn, until)) is not None:
        end, complete = min(wanted, final_end), wanted <= final_end
    elif isinstance(until, datetime):
        known = frontier.indexed_until
        complete = frontier.settled and known is not None and until <= known
    first: int | None = 0 if since is None else await slot_of(conn, since)
    return Interval(end if first is None else min(first, end), end, complete)


async def slot_of(conn: Connection, moment: Moment) -> int | None:
    """Return the slot, or the first one with a movement at the time or later, None without one."""
    if not isinstance(moment, datetime):
        return moment
    slot: int | None = await fetch_value(conn, SLOT_OF_TIME, {"time": moment})
    return slot


async def first_part(conn: Connection, owner: str, slots: Interval, *, size: int) -> Part:
    """Return the beginning of a statement, of about `size` lines.

    It has more lines if a single slot has.
    """
    opening = balances_of(await balance_history.at(conn, owner, slots.first - 1))
    return await _part(conn, owner, slots, opening, size)


async def next_part(
    conn: Connection, owner: str, slots: Interval, before: Part, *, size: int
) -> Part | None:
    """Return the part that follows another one, None after the last."""
    if before.end >= slots.end:
        return None
    rest = replace(slots, first=before.end)
    return await _part(conn, owner, rest, before.closing, size)


def add_up(
    opening: Balances, rows: Iterable[HistoryRow], points: Iterable[tuple[int, Balances]]
) -> Iterator[StatementLine]:
    """Yield the lines that lead from the opening balances to those of the last point.

    The rows and the points, which are pairs of a slot and the balances after it, are in order, and
    the rows are all of the points' slots.
    """
    balances = opening
    by_slot = {slot: list(group) for slot, group in groupby(rows, key=attrgetter("slot"))}
    known = dict(points)
    for slot in sorted(by_slot.keys() | known.keys()):
        for row in by_slot.get(slot, ()):
            change = change_of(row.kind, row.amount, available=balances.available)
            balances = balances.plus(change)
            yield _line(row, change, balances)
        if slot in known and known[slot] != balances:
            change, balances = known[slot].minus(balances), known[slot]
            yield _correction(slot, change, balances)


def balances_of(point: BalancePoint | None) -> Balances:
    """Return the balances of a point; those of an empty vault without one."""
    if point is None:
        return Balances()
    return Balances(*(getattr(point, name) for name in columns(Balances)))


async def _part(
    conn: Connection, owner: str, slots: Interval, opening: Balances, size: int
) -> Part:
    rows, end = await _rows(conn, owner, slots.first, slots.end, size)
    points = await _points(conn, {"owner": owner, "first": slots.first, "end": end})
    lines = list(add_up(opening, rows, points))
    return Part(slots.first, end, opening, lines[-1].balances if lines else opening, lines)


async def _rows(
    conn: Connection, owner: str, first: int, end: int, size: int
) -> tuple[list[HistoryRow], int]:
    """Return the rows of whole slots from `first` on, and the slot where they end."""
    params = {"owner": owner, "first": first, "end": end, "limit": size + 1}
    rows = await fetch_structs(conn, HistoryRow, LINES, params)
    if len(rows) <= size:
        return rows, max(first, end)
    last = rows[-1].slot
    if rows[0].slot == last:
        return await history.of_slot(conn, owner, last), last + 1
    return [row for row in rows if row.slot < last], last


async def _points(conn: Connection, params: dict[str, object]) -> list[tuple[int, Balances]]:
    cursor = await conn.execute(POINTS, params)
    return [(slot, Balances(*balances)) for slot, *balances in await cursor.fetchall()]


def _line(row: HistoryRow, change: Balances, balances: Balances) -> StatementLine:
    return StatementLine(
        slot=row.slot,
        block_time=row.block_time,
        kind=row.kind,
        amount=row.amount,
        signature=row.signature,
        instruction_index=row.instruction_index,
        ordinal=row.ordinal,
        change=change,
        balances=balances,
    )


def _correction(slot: int, change: Balances, balances: Balances) -> StatementLine:
    return StatementLine(
        slot=slot,
        block_time=None,
        kind=CORRECTION,
        amount=abs(change.total),
        signature=None,
        instruction_index=None,
        ordinal=None,
        change=change,
        balances=balances,
    )
