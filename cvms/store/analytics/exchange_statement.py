"""Statements of all vaults together: what they held at two full hours, and what moved between.

The balances come from the snapshots and the movements from the flows, so a statement costs a few
rows for each hour or day, however many vaults there are. The two are written apart: if they do not
agree, the statement says by how much. The lines themselves are read slot by slot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from cvms.store.analytics.aggregates import Bucket
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    columns,
    fetch_all,
    fetch_structs,
    fetch_value,
    query_for,
)
from cvms.store.vaults import balance_snapshots, statements
from cvms.store.vaults.history import Balances, HistoryRow, Kind, change_of
from cvms.store.vaults.statements import Interval

LAST = """
SELECT at
FROM snapshot_head
"""

BOUNDS = """
SELECT bound.at, snapshot.slot,
       coalesce(snapshot.vaults, 0) AS vaults,
       coalesce(snapshot.total, 0) AS total,
       coalesce(snapshot.available, 0) AS available,
       coalesce(snapshot.locked, 0) AS locked,
       coalesce(snapshot.timelocked, 0) AS timelocked,
       coalesce(snapshot.yield_deposited, 0) AS yield_deposited
FROM generate_series(
    %(since)s::TIMESTAMPTZ, %(until)s::TIMESTAMPTZ, %(step)s::INTERVAL
) AS bound (at)
LEFT JOIN tvl_snapshots AS snapshot USING (at)
ORDER BY bound.at
"""

FLOWS = """
SELECT start, kind, count, amount
FROM flows
WHERE bucket = %(bucket)s
  AND start >= %(since)s
  AND start < %(until)s
  AND count <> 0
ORDER BY start, kind
"""

EMERGENCIES = """
SELECT DISTINCT owner, slot
FROM transactions
WHERE kind = 'emergency_withdraw'
  AND slot >= %(first)s
  AND slot < %(end)s
"""

# Every line has a point in its slot; an index has the points in the order of their slots.
CHUNK_END = """
SELECT slot
FROM balance_history
WHERE slot >= %(first)s
  AND slot < %(end)s
ORDER BY slot
LIMIT 1
OFFSET %(points)s
"""

LINES = query_for(
    HistoryRow,
    """
    SELECT {columns}
    FROM transactions
    WHERE slot >= %(first)s
      AND slot < %(end)s
    ORDER BY slot, id
    """,
)

LINES_OF_SLOT = 1000


class NotKept(Exception):
    """The balances at this hour are not kept any more; those of the midnights are."""

    def __init__(self, at: datetime) -> None:
        super().__init__(f"the balances at {at:%Y-%m-%dT%H:%MZ} are not kept any more")


@dataclass(frozen=True, slots=True)
class Bound:
    """What all vaults held at the end of `slot`, the last one before `at`; None without one."""

    at: datetime
    slot: int | None
    vaults: int
    balances: Balances


@dataclass(frozen=True, slots=True)
class KindFlow:
    """The number and the sum of the movements of a kind."""

    kind: str
    count: int
    amount: int


@dataclass(frozen=True, slots=True)
class Period:
    """What moved from `opening` to `closing`.

    `change` is what the flows change. `difference` is by how much the closing balances exceed the
    opening ones and that change together.
    """

    opening: Bound
    closing: Bound
    flows: tuple[KindFlow, ...]
    change: Balances

    @property
    def difference(self) -> Balances:
        return self.closing.balances.minus(self.opening.balances.plus(self.change))


@dataclass(frozen=True, slots=True)
class _BoundRow:
    at: datetime
    slot: int | None
    vaults: int
    total: Decimal
    available: Decimal
    locked: Decimal
    timelocked: Decimal
    yield_deposited: Decimal


@dataclass(frozen=True, slots=True)
class _FlowRow:
    start: datetime
    kind: str
    count: int
    amount: Decimal


async def last_hour(conn: Connection) -> datetime | None:
    """Return the last full hour whose balances are written."""
    last: datetime | None = await fetch_value(conn, LAST)
    return last


async def periods(
    conn: Connection, *, since: datetime, until: datetime, bucket: Bucket
) -> list[Period]:
    """Return the hours or days from `since` to before `until`, which are bounds of them.

    Raises NotKept if the balances of a bound were pruned.
    """
    step = timedelta(**{f"{bucket}s": 1})
    params = {"since": since, "until": until, "step": step, "bucket": bucket}
    bounds = [_bound(row) for row in await fetch_all(conn, _BoundRow, BOUNDS, params)]
    begun = await balance_snapshots.first_time(conn)
    lost = [each.at for each in bounds if each.slot is None and begun and each.at > begun]
    if lost:
        raise NotKept(lost[0])
    flows: dict[datetime, list[KindFlow]] = {}
    for row in await fetch_all(conn, _FlowRow, FLOWS, params):
        flows.setdefault(row.start, []).append(KindFlow(row.kind, row.count, int(row.amount)))
    found = []
    for opening, closing in pairwise(bounds):
        moved = tuple(flows.get(opening.at, ()))
        change = await _change(conn, moved, opening, closing)
        found.append(Period(opening, closing, moved, change))
    return found


def together(parts: Iterable[Period]) -> Period:
    """Return consecutive periods, of which there is at least one, as one."""
    first, *others = parts
    last = others[-1] if others else first
    sums: dict[str, KindFlow] = {}
    change = Balances()
    for each in (first, *others):
        change = change.plus(each.change)
        for flow in each.flows:
            known = sums.get(flow.kind, KindFlow(flow.kind, 0, 0))
            count, amount = known.count + flow.count, known.amount + flow.amount
            sums[flow.kind] = KindFlow(flow.kind, count, amount)
    flows = tuple(sums[kind] for kind in sorted(sums))
    return Period(first.opening, last.closing, flows, change)


async def chunk_end(conn: Connection, slots: Interval, *, size: int) -> int:
    """Return the slot where the next lines of these slots end, of which there are about `size`."""
    params = {"first": slots.first, "end": slots.end, "points": size}
    end: int | None = await fetch_value(conn, CHUNK_END, params)
    return slots.end if end is None else max(end, slots.first + 1)


async def lines(conn: Connection, first: int, end: int) -> list[HistoryRow]:
    """Return all lines of the slots from `first` to before `end`, oldest first."""
    return await fetch_structs(conn, HistoryRow, LINES, {"first": first, "end": end})


async def _change(
    conn: Connection, flows: Iterable[KindFlow], opening: Bound, closing: Bound
) -> Balances:
    change = Balances()
    for flow in flows:
        # What an emergency takes from the locked balance depends on the vault.
        change = change.plus(change_of(flow.kind, flow.amount, available=flow.amount))
        if flow.kind == Kind.EMERGENCY_WITHDRAW and closing.slot is not None:
            first = 0 if opening.slot is None else opening.slot + 1
            taken = await _taken_from_locked(conn, first, closing.slot + 1)
            change = change.plus(Balances(available=taken, locked=-taken))
    return change


async def _taken_from_locked(conn: Connection, first: int, end: int) -> int:
    taken = 0
    cursor = await conn.execute(EMERGENCIES, {"first": first, "end": end})
    for owner, slot in await cursor.fetchall():
        in_slot = Interval(slot, slot + 1, complete=True)
        part = await statements.first_part(conn, owner, in_slot, size=LINES_OF_SLOT)
        emergencies = [each for each in part.lines if each.kind == Kind.EMERGENCY_WITHDRAW]
        taken -= sum(each.change.locked for each in emergencies)
    return taken


def _bound(row: _BoundRow) -> Bound:
    balances = Balances(*(int(getattr(row, name)) for name in columns(Balances)))
    return Bound(row.at, row.slot, row.vaults, balances)
