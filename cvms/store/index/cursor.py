"""The position up to which the indexer has applied a program's transactions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

import psycopg

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_column, fetch_exactly_one, fetch_one, fetch_value

GET = """
SELECT program, slot, signature, previous_signature
FROM indexer_cursor
WHERE program = %(program)s
"""

PROGRAMS = """
SELECT program
FROM indexer_cursor
ORDER BY program
"""

ADVANCE = """
INSERT INTO indexer_cursor (program, slot, signature, previous_signature)
VALUES (%(program)s, %(slot)s, %(signature)s, %(previous_signature)s)
ON CONFLICT (program) DO UPDATE SET
    slot = EXCLUDED.slot,
    signature = EXCLUDED.signature,
    previous_signature = EXCLUDED.previous_signature,
    updated_at = now()
WHERE indexer_cursor.slot <= EXCLUDED.slot
"""

SAW = """
UPDATE indexer_cursor
SET block_time = greatest(block_time, %(block_time)s)
WHERE program = %(program)s
"""

REACH = """
UPDATE indexer_cursor
SET through = %(slot)s
WHERE program = %(program)s
  AND (through IS NULL OR through < %(slot)s)
"""

# "indx" in ASCII: those who apply and those who roll back take turns.
APPLY_LOCK = 0x696E6478

# One lock for each schema: a rebuild has its own.
LOCK = "SELECT pg_advisory_xact_lock(%(key)s, hashtext(current_schema()))"

LOCKED = (
    "another process has locked the index, as `cvms index rebuild --replace` does until it is done"
)

REWIND = """
UPDATE indexer_cursor
SET slot = %(slot)s,
    signature = %(signature)s,
    previous_signature = %(previous_signature)s,
    through = least(through, %(slot)s),
    forks = forks + 1,
    updated_at = now()
WHERE program = %(program)s
"""

FORGET = """
DELETE FROM indexer_cursor
WHERE program = %(program)s
"""

# Held until the transaction ends, so that no fork is rolled back meanwhile.
FORKS = """
SELECT forks
FROM indexer_cursor
WHERE program = %(program)s
FOR SHARE
"""

FRONTIER = """
SELECT max(through) AS slot,
       greatest(now(), max(block_time)) AS now
FROM indexer_cursor
WHERE program = %(program)s
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last transaction applied; none before it is missing.

    `previous_signature` is the one applied before it, to continue from if a fork drops the last.
    """

    program: str
    slot: int
    signature: str
    previous_signature: str | None = None


async def get(conn: Connection, program: str) -> Cursor | None:
    """Return the cursor of `program`, None before its first transaction."""
    return await fetch_one(conn, Cursor, GET, {"program": program})


async def programs(conn: Connection) -> list[str]:
    """Return the programs whose transactions are indexed."""
    return await fetch_column(conn, PROGRAMS)


async def advance(conn: Connection, cursor: Cursor) -> bool:
    """Move to `cursor`, in the transaction of its effects; return False if its slot is older."""
    done = await conn.execute(ADVANCE, asdict(cursor))
    return done.rowcount == 1


async def lock(conn: Connection) -> None:
    """Keep others from applying or rolling back until the transaction ends.

    A row lock would not do: there is no row before the first transaction. Raises
    DatabaseUnavailable if another process has it for longer than a statement may take.
    """
    try:
        await conn.execute(LOCK, {"key": APPLY_LOCK})
    except psycopg.errors.QueryCanceled as error:
        if conn.closed:  # the server has not answered at all
            raise
        raise DatabaseUnavailable(LOCKED) from error


async def rewind(conn: Connection, program: str, to: Cursor | None) -> None:
    """Move back to where a fork left the chain; None is before the first transaction.

    Call it under `lock`, in the transaction that rolls back what was applied since.
    """
    if to is None:
        await conn.execute(FORGET, {"program": program})
    else:
        await conn.execute(REWIND, asdict(to))


async def forks(conn: Connection, program: str) -> int:
    """Return the number of rollbacks so far; it cannot change until the transaction ends.

    What was read from the chain at another count may come from a block that was dropped.
    """
    return int(await fetch_value(conn, FORKS, {"program": program}) or 0)


@dataclass(frozen=True, slots=True)
class Frontier:
    """The slot up to which nothing is missing (None before the first transaction), and the time.

    `now` is the database's clock, or the newest block's time where the chain's clock is ahead.
    """

    slot: int | None
    now: datetime


async def saw(conn: Connection, program: str, block_time: datetime | None) -> None:
    """Record the time of a block unless a newer one was recorded."""
    await conn.execute(SAW, {"program": program, "block_time": block_time})


async def reach(conn: Connection, program: str, slot: int) -> None:
    """Record that every confirmed transaction up to `slot` is applied."""
    await conn.execute(REACH, {"program": program, "slot": slot})


async def frontier(conn: Connection, program: str) -> Frontier:
    """Return how far `program`'s transactions are applied, and the time to compare it with."""
    return await fetch_exactly_one(conn, Frontier, FRONTIER, {"program": program})
