"""What every vault held on each hour, written once, and again from the history if need be.

A time is turned into a slot by the movements around it: what a vault held at `at` is what its last
point says in a slot before the first movement of `at` or later. A point that only an account told
has no time, and counts by its slot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_one

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

# Everything the chain did before `at` is indexed if something later is. Where nothing came later,
# what is indexed up to now counts.
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
WITH held AS (
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
FROM held
ON CONFLICT (at) DO NOTHING
"""

OF_OWNER = """
SELECT at, total, available, locked, timelocked, yield_deposited, slot
FROM balance_snapshots
WHERE owner = %(owner)s
ORDER BY at
"""

OF_ALL = """
SELECT at, total, available, locked, timelocked, yield_deposited, slot
FROM tvl_snapshots
ORDER BY at
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
    """The last hour that is written, None before the first, and the database's time."""

    at: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True)
class _Time:
    at: datetime


@dataclass(frozen=True, slots=True)
class _Slot:
    slot: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a vault, or all of them, held at a time, as of a slot."""

    at: datetime
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    slot: int

    def __post_init__(self) -> None:
        for name in ("total", "available", "locked", "timelocked", "yield_deposited"):
            object.__setattr__(self, name, int(getattr(self, name)))


async def lock(conn: Connection) -> Head:
    """The last hour written; nobody else writes one until the transaction ends."""
    head = await fetch_one(conn, Head, LOCK, {})
    assert head is not None
    return head


async def first_time(conn: Connection) -> datetime | None:
    """When anything first moved in a vault, as far as it is indexed."""
    found = await fetch_one(conn, _Time, FIRST_TIME, {})
    return None if found is None else found.at


async def write(conn: Connection, at: datetime) -> bool:
    """Write what all vaults held at `at`; False, and nothing, while nothing at all is indexed.

    Call it with `lock`, once everything before `at` is indexed.
    """
    found = await fetch_one(conn, _Slot, LAST_SLOT, {"at": at})
    if found is None or found.slot is None:
        return False
    await conn.execute(WRITE, {"at": at, "slot": found.slot})
    return True


async def of_owner(conn: Connection, owner: str) -> list[Snapshot]:
    """What the owner's vault held, oldest first; no snapshot where it held nothing."""
    return await fetch_all(conn, Snapshot, OF_OWNER, {"owner": owner})


async def of_all(conn: Connection) -> list[Snapshot]:
    """What all vaults held together, oldest first."""
    return await fetch_all(conn, Snapshot, OF_ALL, {})


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete those older than `age` that are not of midnight; returns how many of vaults."""
    cursor = await conn.execute(PRUNE, {"age": age})
    await conn.execute(PRUNE_TVL, {"age": age})
    return cursor.rowcount
