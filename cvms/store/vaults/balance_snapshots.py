"""The balances of every vault on each full hour, written once from balance_history.

A vault has a row for the hours in which it has changed, and is as in its last row in all others. At
midnight, each vault that has changed in the day has a row, so midnights are enough for the days.

The movements around a time give its slot: the balances at `at` are those of the last point before
the slot of the first movement at `at` or later. A point read from an account has no time and counts
by its slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    columns,
    fetch_column,
    fetch_exactly_one,
    fetch_one,
    fetch_value,
)

OWNERS_PER_QUERY = 5_000

LOCK = """
SELECT at, changes_since, now() AS now
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

# The last snapshot of any hour, and the slot of the last one of midnight.
LAST = """
SELECT vaults, total, available, locked, timelocked, yield_deposited, slot,
       coalesce(
           (
               SELECT slot
               FROM tvl_snapshots
               WHERE at < %(at)s
                 AND at = date_trunc('day', at, 'UTC')
               ORDER BY at DESC
               LIMIT 1
           ),
           -1
       ) AS day_slot
FROM tvl_snapshots
WHERE at < %(at)s
ORDER BY at DESC
LIMIT 1
"""

MOVED = """
SELECT DISTINCT owner
FROM balance_history
WHERE slot > %(after_slot)s
  AND slot <= %(slot)s
"""

PAGE = """
SELECT owner
FROM vaults
WHERE owner > %(after_owner)s
ORDER BY owner
LIMIT %(limit)s
"""

# By how much the sums of these vaults exceed those of their last rows, and the last owner. A vault
# without a row was empty. At midnight, one that has moved in the day gets a row in any case.
WRITE = """
WITH concerned AS (
    {owners}
), found AS (
    SELECT vaults.owner, point.vault, point.total, point.available, point.locked, point.timelocked,
           point.yield_deposited, point.slot, before.owner IS NOT NULL AS known,
           coalesce(before.total, 0) AS was_total,
           coalesce(before.available, 0) AS was_available,
           coalesce(before.locked, 0) AS was_locked,
           coalesce(before.timelocked, 0) AS was_timelocked,
           coalesce(before.yield_deposited, 0) AS was_yield_deposited
    FROM concerned
    JOIN vaults USING (owner)
    CROSS JOIN LATERAL (
        SELECT vault, total, available, locked, timelocked, yield_deposited, slot
        FROM balance_history
        WHERE owner = vaults.owner
          AND slot <= %(slot)s
        ORDER BY slot DESC
        LIMIT 1
    ) AS point
    LEFT JOIN LATERAL (
        SELECT owner, total, available, locked, timelocked, yield_deposited
        FROM balance_snapshots
        WHERE owner = vaults.owner
          AND at < %(at)s
        ORDER BY at DESC
        LIMIT 1
    ) AS before ON TRUE
), written AS (
    INSERT INTO balance_snapshots (
        owner, at, vault, total, available, locked, timelocked, yield_deposited, slot
    )
    SELECT owner, %(at)s, vault, total, available, locked, timelocked, yield_deposited, %(slot)s
    FROM found
    WHERE (total, available, locked, timelocked, yield_deposited)
       <> (was_total, was_available, was_locked, was_timelocked, was_yield_deposited)
       OR (%(midnight)s AND known AND slot > %(day_slot)s)
    ON CONFLICT (owner, at) DO NOTHING
)
SELECT coalesce(sum((total > 0)::INTEGER - (%(relative)s AND was_total > 0)::INTEGER), 0) AS vaults,
       coalesce(sum(total - %(relative)s::INTEGER * was_total::NUMERIC), 0) AS total,
       coalesce(sum(available - %(relative)s::INTEGER * was_available::NUMERIC), 0) AS available,
       coalesce(sum(locked - %(relative)s::INTEGER * was_locked::NUMERIC), 0) AS locked,
       coalesce(sum(timelocked - %(relative)s::INTEGER * was_timelocked::NUMERIC), 0)
           AS timelocked,
       coalesce(sum(yield_deposited - %(relative)s::INTEGER * was_yield_deposited::NUMERIC), 0)
           AS yield_deposited,
       (SELECT max(owner) FROM concerned) AS last_owner
FROM found
"""
WRITE_MOVED, WRITE_PAGE = (WRITE.replace("{owners}", owners) for owners in (MOVED, PAGE))

WRITE_SUMS = """
WITH head AS (
    UPDATE snapshot_head
    SET at = %(at)s, changes_since = coalesce(changes_since, %(at)s)
)
INSERT INTO tvl_snapshots (
    at, vaults, total, available, locked, timelocked, yield_deposited, slot
)
VALUES (
    %(at)s, %(vaults)s, %(total)s, %(available)s, %(locked)s, %(timelocked)s, %(yield_deposited)s,
    %(slot)s
)
ON CONFLICT (at) DO NOTHING
"""

# Hour by hour: all older midnights are kept, and would be read each time.
PRUNABLE = """
SELECT at
FROM tvl_snapshots
WHERE at < now() - %(age)s
  AND at <> date_trunc('day', at, 'UTC')
ORDER BY at
"""

PRUNE = """
DELETE FROM balance_snapshots
WHERE at = %(at)s
"""

PRUNE_SUMS = """
DELETE FROM tvl_snapshots
WHERE at = %(at)s
"""


@dataclass(frozen=True, slots=True)
class Head:
    """The last hour written (None before the first) and the database's time.

    `changes_since` is None until the first snapshot that holds only what has changed.
    """

    at: datetime | None
    changes_since: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class Sums:
    """The number of vaults that are not empty, and what they hold together."""

    vaults: int = 0
    total: Decimal = Decimal(0)
    available: Decimal = Decimal(0)
    locked: Decimal = Decimal(0)
    timelocked: Decimal = Decimal(0)
    yield_deposited: Decimal = Decimal(0)

    def plus(self, more: Sums) -> Sums:
        names = columns(Sums)
        return Sums(**{name: getattr(self, name) + getattr(more, name) for name in names})


@dataclass(frozen=True, slots=True)
class _Written(Sums):
    last_owner: str | None = None


@dataclass(frozen=True, slots=True)
class _Last(Sums):
    slot: int = -1
    day_slot: int = -1


async def lock(conn: Connection) -> Head:
    """Return the head and keep other writers out until the transaction ends."""
    return await fetch_exactly_one(conn, Head, LOCK, {})


async def first_time(conn: Connection) -> datetime | None:
    """Return the time of the first indexed movement in any vault."""
    first: datetime | None = await fetch_value(conn, FIRST_TIME)
    return first


async def write(conn: Connection, at: datetime, *, complete: bool) -> bool:
    """Write the balances at `at` that have changed; return False while nothing is indexed at all.

    Call it under `lock`, once everything before `at` is indexed. Unless `complete`, only vaults
    that have moved since the last snapshot are read: what was corrected before it is not seen.
    """
    slot = await fetch_value(conn, LAST_SLOT, {"at": at})
    if slot is None:
        return False
    midnight = at.astimezone(UTC).hour == 0
    last = await fetch_one(conn, _Last, LAST, {"at": at}) or _Last()
    params = {
        "at": at,
        "slot": slot,
        "midnight": midnight,
        "day_slot": last.day_slot,
        "after_slot": last.day_slot if midnight else last.slot,
        "relative": not complete,
    }
    if complete:
        sums = await _write_all(conn, params)
    else:
        sums = last.plus(await fetch_exactly_one(conn, _Written, WRITE_MOVED, params))
    await conn.execute(WRITE_SUMS, {**params, **asdict(sums)})
    return True


async def _write_all(conn: Connection, params: Mapping[str, Any]) -> Sums:
    """Compare all vaults page by page, since one statement over all takes too long."""
    sums, after = Sums(), ""
    while True:
        page = {**params, "after_owner": after, "limit": OWNERS_PER_QUERY}
        written = await fetch_exactly_one(conn, _Written, WRITE_PAGE, page)
        if written.last_owner is None:
            return sums
        sums, after = sums.plus(written), written.last_owner


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the snapshots older than `age`, except those of midnight.

    Returns the number of deleted rows of single vaults.
    """
    pruned = 0
    for at in await fetch_column(conn, PRUNABLE, {"age": age}):
        pruned += (await conn.execute(PRUNE, {"at": at})).rowcount
        await conn.execute(PRUNE_SUMS, {"at": at})
    return pruned
