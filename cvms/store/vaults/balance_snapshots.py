"""The balances of every vault on each full hour, written once from balance_history.

The movements around a time give its slot: the balances at `at` are those of the last point before
the slot of the first movement at `at` or later. A point read from an account has no time and counts
by its slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one, fetch_value

LOCK = """
SELECT at, now() AS now
FROM snapshot_head
FOR UPDATE
"""

FIRST_TIME = """
SELECT block_time AS at
FROM balance_history
WHERE block_time IS NOT NULL
ORDER BY block_time
LIMIT 1
"""

# Everything before `at` is indexed if anything later is. If nothing came later, the snapshot is of
# the last slot indexed.
LAST_SLOT = """
SELECT coalesce(
           (
               SELECT slot - 1
               FROM balance_history
               WHERE block_time >= %(at)s
               ORDER BY block_time, slot
               LIMIT 1
           ),
           (SELECT max(greatest(through, slot)) FROM indexer_cursor)
       ) AS slot
"""

WRITE = """
WITH written AS (
    INSERT INTO balance_snapshots (
        owner, at, vault, total, available, locked, timelocked, yield_deposited, slot
    )
    SELECT vaults.owner, %(at)s, point.vault, point.total, point.available, point.locked,
           point.timelocked, point.yield_deposited, %(slot)s
    FROM vaults
    CROSS JOIN LATERAL (
        SELECT vault, total, available, locked, timelocked, yield_deposited
        FROM balance_history
        WHERE owner = vaults.owner
          AND slot <= %(slot)s
        ORDER BY slot DESC
        LIMIT 1
    ) AS point
    WHERE point.total > 0
    ON CONFLICT (owner, at) DO NOTHING
    RETURNING total, available, locked, timelocked, yield_deposited
), head AS (
    UPDATE snapshot_head
    SET at = %(at)s
)
INSERT INTO tvl_snapshots (
    at, vaults, total, available, locked, timelocked, yield_deposited, slot
)
SELECT %(at)s, count(*), coalesce(sum(total), 0), coalesce(sum(available), 0),
       coalesce(sum(locked), 0), coalesce(sum(timelocked), 0), coalesce(sum(yield_deposited), 0),
       %(slot)s
FROM written
ON CONFLICT (at) DO NOTHING
"""

PRUNE = """
DELETE FROM balance_snapshots
WHERE at < now() - %(age)s
  AND at <> date_trunc('day', at, 'UTC')
"""

PRUNE_TVL = """
DELETE FROM tvl_snapshots
WHERE at < now() - %(age)s
  AND at <> date_trunc('day', at, 'UTC')
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The last hour written (None before the first) and the database's time."""

    at: datetime | None
    now: datetime


async def lock(conn: Connection) -> Head:
    """Return the head and keep other writers out until the transaction ends."""
    return await fetch_exactly_one(conn, Head, LOCK, {})


async def first_time(conn: Connection) -> datetime | None:
    """Return the time of the first indexed movement in any vault."""
    first: datetime | None = await fetch_value(conn, FIRST_TIME)
    return first


async def write(conn: Connection, at: datetime) -> bool:
    """Write the balances of all vaults at `at`; return False while nothing is indexed at all.

    Call it under `lock`, once everything before `at` is indexed.
    """
    slot = await fetch_value(conn, LAST_SLOT, {"at": at})
    if slot is None:
        return False
    await conn.execute(WRITE, {"at": at, "slot": slot})
    return True


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the snapshots older than `age`, except those of midnight.

    Returns the number of deleted rows of single vaults.
    """
    cursor = await conn.execute(PRUNE, {"age": age})
    await conn.execute(PRUNE_TVL, {"age": age})
    return cursor.rowcount
