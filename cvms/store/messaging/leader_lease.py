"""Who leads: an advisory lock of one session, and until when its holder may act.

The lock alone would not do. A leader that is cut off from the database goes on for a while after
its session has ended, so its successor waits until the lease has run out. And a leader that was
stopped keeps its session, so a successor ends that once the lease has run out.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one

# "lead" in ASCII, beside the key of store/postgres/migrate.py.
KEY = 0x6C656164

# For one that has got the lock to begin its term.
GRACE_SECONDS = 0.5

TRY_LOCK = "SELECT pg_try_advisory_lock(%(key)s)"

# The lock's key is 64 bits wide, of which pg_locks shows the halves.
END_STALE_SESSION = """
SELECT pg_terminate_backend(lock.pid)
FROM pg_locks AS lock
JOIN leadership ON leadership.until + make_interval(secs => %(grace)s) < clock_timestamp()
WHERE lock.locktype = 'advisory'
  AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND lock.classid = 0
  AND lock.objid = %(key)s
  AND lock.objsubid = 1
  AND lock.granted
"""

REMAINING = """
SELECT greatest(0, extract(epoch FROM until - clock_timestamp()))::FLOAT8
FROM leadership
"""

TAKE = """
INSERT INTO leadership (holder, term, until)
VALUES (%(holder)s, 1, clock_timestamp() + make_interval(secs => %(lease)s))
ON CONFLICT (one) DO UPDATE
SET holder = EXCLUDED.holder,
    term = leadership.term + 1,
    until = EXCLUDED.until
RETURNING term
"""

RENEW = """
UPDATE leadership
SET until = clock_timestamp() + make_interval(secs => %(lease)s),
    indexed_slot = %(slot)s,
    indexer_problem = %(problem)s
WHERE term = %(term)s
"""

RESIGN = """
UPDATE leadership
SET until = clock_timestamp()
WHERE term = %(term)s
"""

REPORT = """
SELECT holder, indexed_slot AS slot, indexer_problem AS problem
FROM leadership
WHERE until > clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Report:
    """Who leads, up to which slot it has indexed, and why it cannot go on, if so."""

    holder: str
    slot: int | None
    problem: str | None


async def try_lock(conn: Connection) -> bool:
    """Whether this session holds the lock now, until it ends."""
    cursor = await conn.execute(TRY_LOCK, {"key": KEY})
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def end_stale_session(conn: Connection) -> None:
    """End the session of a holder whose lease has run out."""
    await conn.execute(END_STALE_SESSION, {"key": KEY, "grace": GRACE_SECONDS})


async def remaining(conn: Connection) -> float:
    """For how many seconds the last holder may still act."""
    cursor = await conn.execute(REMAINING)
    row = await cursor.fetchone()
    return 0.0 if row is None else row[0]


async def take(conn: Connection, holder: str, *, lease: float) -> int:
    """Begin a term of `lease` seconds; its number. Only with the lock, and when none remains."""
    cursor = await conn.execute(TAKE, {"holder": holder, "lease": lease})
    row = await cursor.fetchone()
    assert row is not None
    term: int = row[0]
    return term


async def renew(
    conn: Connection, term: int, *, lease: float, slot: int | None, problem: str | None
) -> bool:
    """Have the term last `lease` seconds from now, and report; False if it is over."""
    params = {"term": term, "lease": lease, "slot": slot, "problem": problem}
    cursor = await conn.execute(RENEW, params)
    return cursor.rowcount == 1


async def resign(conn: Connection, term: int) -> None:
    """End the term at once; a successor need not wait."""
    await conn.execute(RESIGN, {"term": term})


async def report(conn: Connection) -> Report | None:
    """What the leader reported last; None while nobody leads."""
    return await fetch_one(conn, Report, REPORT, {})
