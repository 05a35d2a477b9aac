"""Aggregates over all vaults and all movements, updated together with their source rows.

`count` and `moved` are called in the transaction that writes the history and the vaults, so a
recorded movement is never counted twice. Every aggregate is linear: a rolled-back movement is
counted with a negative amount and count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_all,
    fetch_exactly_one,
)
from cvms.store.vaults.history import EFFECTS, Effect, HistoryRow
from cvms.store.vaults.vaults import VaultRow

Bucket = Literal["hour", "day"]

# A row without a time happened no earlier than the newest one before it. Each hour with movements,
# and each known hour after the first of those, grows by the movements up to then: almost always
# that is the newest hour alone.
COUNT = """
WITH lines AS (
    SELECT kind, amount, growth,
           coalesce(
               block_time,
               greatest(
                   max(block_time) OVER (ORDER BY place),
                   (SELECT max(hour) FROM tvl_hours)
               ),
               now()
           ) AS at
    FROM unnest(
        %(kind)s::TEXT[], %(amount)s::NUMERIC[], %(growth)s::NUMERIC[],
        %(block_time)s::TIMESTAMPTZ[]
    ) WITH ORDINALITY AS line (kind, amount, growth, block_time, place)
),
counted AS (
    INSERT INTO flows (bucket, start, kind, count, amount)
    SELECT bucket, date_trunc(bucket, at, 'UTC'), kind, %(sign)s * count(*), sum(amount)
    FROM lines
    CROSS JOIN (VALUES ('hour'), ('day')) AS buckets (bucket)
    GROUP BY 1, 2, 3
    ON CONFLICT (bucket, start, kind) DO UPDATE SET
        count = flows.count + EXCLUDED.count,
        amount = flows.amount + EXCLUDED.amount
),
net AS (
    SELECT date_trunc('hour', at, 'UTC') AS hour,
           sum(growth) AS growth
    FROM lines
    GROUP BY 1
),
touched AS (
    SELECT hour
    FROM net
    UNION
    SELECT hour
    FROM tvl_hours
    WHERE hour >= (SELECT min(hour) FROM net)
)
INSERT INTO tvl_hours (hour, tvl)
SELECT hour,
       coalesce(
           (
               SELECT known.tvl
               FROM tvl_hours AS known
               WHERE known.hour <= touched.hour
               ORDER BY known.hour DESC
               LIMIT 1
           ),
           0
       ) + (SELECT sum(net.growth) FROM net WHERE net.hour <= touched.hour)
FROM touched
ON CONFLICT (hour) DO UPDATE SET
    tvl = EXCLUDED.tvl
"""

# A bucket without movements has no row. `since` is in the first hour that may be empty.
DROP_EMPTY_FLOWS = """
DELETE FROM flows
WHERE count = 0
  AND start >= date_trunc('day', %(since)s::TIMESTAMPTZ, 'UTC')
"""

DROP_EMPTY_HOURS = """
DELETE FROM tvl_hours
WHERE hour >= date_trunc('hour', %(since)s::TIMESTAMPTZ, 'UTC')
  AND NOT EXISTS (
      SELECT FROM flows
      WHERE flows.bucket = 'hour'
        AND flows.start = tvl_hours.hour
  )
"""

# In the order of the key, so that two writers cannot deadlock.
MOVE = """
INSERT INTO vault_sizes (digits, vaults, total, available, locked, timelocked, yield_deposited)
SELECT CASE total WHEN 0 THEN 0 ELSE length(total::TEXT) END AS digits,
       sum(sign), sum(sign * total), sum(sign * available), sum(sign * locked),
       sum(sign * timelocked), sum(sign * yield_deposited)
FROM unnest(
    %(sign)s::SMALLINT[], %(total)s::NUMERIC[], %(available)s::NUMERIC[], %(locked)s::NUMERIC[],
    %(timelocked)s::NUMERIC[], %(yield_deposited)s::NUMERIC[]
) AS change (sign, total, available, locked, timelocked, yield_deposited)
GROUP BY 1
ORDER BY 1
ON CONFLICT (digits) DO UPDATE SET
    vaults = vault_sizes.vaults + EXCLUDED.vaults,
    total = vault_sizes.total + EXCLUDED.total,
    available = vault_sizes.available + EXCLUDED.available,
    locked = vault_sizes.locked + EXCLUDED.locked,
    timelocked = vault_sizes.timelocked + EXCLUDED.timelocked,
    yield_deposited = vault_sizes.yield_deposited + EXCLUDED.yield_deposited
"""

SIZES = """
SELECT digits, vaults, total
FROM vault_sizes
ORDER BY digits
"""

HOLDINGS = """
SELECT coalesce(sum(vaults), 0)::BIGINT AS vaults,
       coalesce(sum(vaults) FILTER (WHERE digits > 0), 0)::BIGINT AS funded,
       coalesce(sum(total), 0) AS total,
       coalesce(sum(available), 0) AS available,
       coalesce(sum(locked), 0) AS locked,
       coalesce(sum(timelocked), 0) AS timelocked,
       coalesce(sum(yield_deposited), 0) AS yield_deposited
FROM vault_sizes
"""

SERIES = """
SELECT start, coalesce(newest.tvl, 0) AS tvl
FROM generate_series(
    %(since)s::TIMESTAMPTZ, %(until)s::TIMESTAMPTZ - INTERVAL '1 microsecond', %(step)s::INTERVAL
) AS bucket (start)
LEFT JOIN LATERAL (
    SELECT tvl
    FROM tvl_hours
    WHERE hour < start + %(step)s::INTERVAL
    ORDER BY hour DESC
    LIMIT 1
) AS newest ON TRUE
ORDER BY start
"""

# One row for each bucket: a row for each kind would cost ten times as much to read.
FLOWS = """
SELECT start, sum(count)::BIGINT AS count, jsonb_object_agg(kind, amount) AS amounts
FROM flows
WHERE bucket = %(bucket)s
  AND start >= %(since)s
  AND start < %(until)s
GROUP BY start
ORDER BY start
"""


@dataclass(frozen=True, slots=True)
class Size:
    """The open vaults whose total has `digits` decimal digits (0: empty)."""

    digits: int
    vaults: int
    total: int

    def __post_init__(self) -> None:
        _to_int(self, "total")


@dataclass(frozen=True, slots=True)
class Holdings:
    """The balances of all open vaults together, of which `funded` hold something."""

    vaults: int
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    funded: int

    def __post_init__(self) -> None:
        _to_int(self, "total", "available", "locked", "timelocked", "yield_deposited")


@dataclass(frozen=True, slots=True)
class TvlPoint:
    """The total of all vaults at the end of the bucket that begins at `start`."""

    start: datetime
    tvl: int

    def __post_init__(self) -> None:
        _to_int(self, "tvl")


@dataclass(frozen=True, slots=True)
class Flow:
    """The number of movements in a bucket, and the amount moved by kind."""

    start: datetime
    count: int
    amounts: Mapping[str, int]


async def count(conn: Connection, lines: Sequence[HistoryRow]) -> None:
    """Count these new rows of the history, in their order.

    Call it under the cursor's lock: two concurrent calls would lose part of an hour's sum.
    """
    if lines:
        await _count(conn, lines, sign=1)


async def uncount(conn: Connection, lines: Sequence[HistoryRow]) -> None:
    """Reverse `count` for these rows, each with the time at which it was counted.

    Deletes the buckets that have no movements left. Call it like `count`.
    """
    times = [line.block_time for line in lines if line.block_time is not None]
    if lines:
        await _count(conn, lines, sign=-1)
    if times:
        await conn.execute(DROP_EMPTY_FLOWS, {"since": min(times)})
        await conn.execute(DROP_EMPTY_HOURS, {"since": min(times)})


async def _count(conn: Connection, lines: Sequence[HistoryRow], *, sign: int) -> None:
    # Locks, timelocks and yield positions do not change a vault's total, and the two sides of a
    # transfer cancel out.
    await conn.execute(
        COUNT,
        {
            "sign": sign,
            "kind": [line.kind for line in lines],
            "amount": [sign * line.amount for line in lines],
            "growth": [sign * EFFECTS[line.kind].total * line.amount for line in lines],
            "block_time": [line.block_time for line in lines],
        },
    )


async def moved(conn: Connection, pairs: Sequence[tuple[VaultRow | None, VaultRow | None]]) -> None:
    """Update the sizes for vault rows that changed, given as pairs of former and new row.

    The former must have been read under a lock, see store/projection/vault_writer.py.
    """
    changes = [(-1, before) for before, _ in pairs if before is not None and not before.closed]
    changes += [(1, now) for _, now in pairs if now is not None and not now.closed]
    if changes:
        balances = by_column([row for _, row in changes], columns(Effect))
        await conn.execute(MOVE, balances | {"sign": [sign for sign, _ in changes]})


async def sizes(conn: Connection) -> list[Size]:
    """Return the distribution of vaults by size, for every size that ever occurred."""
    return await fetch_all(conn, Size, SIZES, {})


async def holdings(conn: Connection) -> Holdings:
    """Return the balances of all open vaults together."""
    return await fetch_exactly_one(conn, Holdings, HOLDINGS, {})


async def series(
    conn: Connection, *, since: datetime, until: datetime, bucket: Bucket
) -> list[TvlPoint]:
    """Return one point for each bucket in [since, until), which are bounds of buckets."""
    params = {"since": since, "until": until, "step": f"1 {bucket}"}
    return await fetch_all(conn, TvlPoint, SERIES, params)


async def flows(
    conn: Connection, *, since: datetime, until: datetime, bucket: Bucket
) -> list[Flow]:
    """Return the flows in [since, until), oldest first, without buckets that have no movements."""
    params = {"since": since, "until": until, "bucket": bucket}
    return await fetch_all(conn, Flow, FLOWS, params)


def _to_int(row: object, *names: str) -> None:
    """Convert fields to int, since PostgreSQL's sums are NUMERIC."""
    for name in names:
        object.__setattr__(row, name, int(getattr(row, name)))
