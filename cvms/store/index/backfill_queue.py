"""The transactions of a gap that is too long for memory, newest first, until they are applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, fetch_one

BEGIN = """
INSERT INTO backlog_head (follows)
VALUES (%(follows)s)
ON CONFLICT (one) DO NOTHING
"""

STATE = """
SELECT follows, complete, listed,
       (SELECT signature FROM backlog ORDER BY place DESC LIMIT 1) AS oldest
FROM backlog_head
"""

ADD = """
INSERT INTO backlog (signature, slot, failed, block_time)
SELECT signature, slot, failed, block_time
FROM unnest(%(signature)s::TEXT[], %(slot)s::BIGINT[], %(failed)s::BOOLEAN[],
            %(block_time)s::BIGINT[])
    WITH ORDINALITY AS listed (signature, slot, failed, block_time, position)
ORDER BY position
"""

GROW = """
UPDATE backlog_head
SET listed = listed + %(count)s,
    complete = %(complete)s
"""

OLDEST = """
SELECT signature, slot, failed, block_time
FROM backlog
ORDER BY place DESC
LIMIT %(limit)s
"""

DROP_APPLIED = """
DELETE FROM backlog
WHERE place >= (
    SELECT place
    FROM backlog
    WHERE signature = %(signature)s
)
"""

COUNT = """
SELECT count(*)
FROM backlog
"""

DROP = "DELETE FROM backlog"
DROP_HEAD = "DELETE FROM backlog_head"


@dataclass(frozen=True, slots=True)
class BackfillState:
    """The signature that the backlog follows, whether it reaches it, how many were listed, and the
    oldest one of those that are left.
    """

    follows: str | None
    complete: bool
    listed: int
    oldest: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A final transaction, as a node lists it. `block_time` is Unix seconds."""

    signature: str
    slot: int
    failed: bool
    block_time: int | None


async def begin(conn: Connection, follows: str | None) -> None:
    """Have a backlog from the cursor's signature on, unless there is one."""
    await conn.execute(BEGIN, {"follows": follows})


async def state(conn: Connection) -> BackfillState | None:
    """The backlog, if there is one."""
    return await fetch_one(conn, BackfillState, STATE, {})


async def add(conn: Connection, rows: Sequence[Listed], *, complete: bool) -> None:
    """Add what is older than all that is there, newest first; call it under the cursor's lock."""
    await conn.execute(ADD, by_column(rows, Listed.__slots__))
    await conn.execute(GROW, {"count": len(rows), "complete": complete})


async def oldest(conn: Connection, limit: int) -> list[Listed]:
    """Up to `limit` of the oldest, those first."""
    return await fetch_all(conn, Listed, OLDEST, {"limit": limit})


async def drop_applied(conn: Connection, signature: str) -> bool:
    """Drop this one and all that are older; False if it is not there."""
    return (await conn.execute(DROP_APPLIED, {"signature": signature})).rowcount > 0


async def count(conn: Connection) -> int:
    """How many are left."""
    row = await (await conn.execute(COUNT)).fetchone()
    assert row is not None
    left: int = row[0]
    return left


async def drop(conn: Connection) -> None:
    """There is no backlog any more."""
    await conn.execute(DROP)
    await conn.execute(DROP_HEAD)
