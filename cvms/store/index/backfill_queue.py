"""The transactions of a gap that is too long for memory, newest first, until they are applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_all,
    fetch_column,
    fetch_one,
    fetch_value,
    query_for,
)


@dataclass(frozen=True, slots=True)
class BackfillState:
    """The signature that the backlog follows, whether the list is complete down to it, the number
    listed, and the oldest one still in the list.
    """

    follows: str | None
    complete: bool
    listed: int
    oldest: str | None


@dataclass(frozen=True, slots=True)
class Listed:
    """A final transaction, as a node lists it. `block_time` is in Unix seconds."""

    signature: str
    slot: int
    failed: bool
    block_time: int | None


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

ADD = query_for(
    Listed,
    """
    INSERT INTO backlog ({columns})
    SELECT {columns}
    FROM unnest({arrays}) WITH ORDINALITY AS listed ({columns}, position)
    ORDER BY position
    """,
)

GROW = """
UPDATE backlog_head
SET listed = listed + %(count)s,
    complete = %(complete)s
"""

OLDEST = query_for(
    Listed,
    """
    SELECT {columns}
    FROM backlog
    ORDER BY place DESC
    LIMIT %(limit)s
    """,
)

LISTED_AMONG = """
SELECT signature
FROM backlog
WHERE signature = ANY(%(signatures)s)
LIMIT 1
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


async def begin(conn: Connection, follows: str | None) -> None:
    """Begin a backlog that follows the cursor's signature, unless there is one."""
    await conn.execute(BEGIN, {"follows": follows})


async def state(conn: Connection) -> BackfillState | None:
    """Return the state of the backlog, or None if there is none."""
    return await fetch_one(conn, BackfillState, STATE, {})


async def add(conn: Connection, rows: Sequence[Listed], *, complete: bool) -> None:
    """Add transactions older than all listed, newest first. Call it under the cursor's lock."""
    await conn.execute(ADD, by_column(rows, columns(Listed)))
    await conn.execute(GROW, {"count": len(rows), "complete": complete})


async def oldest(conn: Connection, limit: int) -> list[Listed]:
    """Return up to `limit` of the oldest, oldest first."""
    return await fetch_all(conn, Listed, OLDEST, {"limit": limit})


async def listed_among(conn: Connection, signatures: Sequence[str]) -> str | None:
    """Return one of these transactions that is in the list; None if none is."""
    found = await fetch_column(conn, LISTED_AMONG, {"signatures": list(signatures)})
    return found[0] if found else None


async def drop_applied(conn: Connection, signature: str) -> bool:
    """Delete this transaction and all older ones; return False if it is not in the list."""
    return (await conn.execute(DROP_APPLIED, {"signature": signature})).rowcount > 0


async def count(conn: Connection) -> int:
    """Return the number of transactions in the list."""
    return int(await fetch_value(conn, COUNT))


async def drop(conn: Connection) -> None:
    """Delete the backlog."""
    await conn.execute(DROP)
    await conn.execute(DROP_HEAD)
