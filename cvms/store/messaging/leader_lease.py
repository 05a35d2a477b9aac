"""The leader lease: an advisory lock held by one session, and a time until which it may act.

The lock alone is not enough. A leader that is cut off from the database keeps acting for a while
after its session has ended, so its successor waits until the lease expires. And a leader whose
process is frozen keeps its session, so a successor ends that session once the lease has expired.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one, fetch_value
from cvms.store.postgres.text import storable

# "lead" in ASCII, beside the key of store/postgres/migrate.py.
KEY = 0x6C656164

# How long a session that has acquired the lock may take to begin its term.
GRACE_SECONDS = 0.5

TRY_LOCK = "SELECT pg_try_advisory_lock(%(key)s)"

# pg_locks shows the two halves of the 64-bit key.
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
    """The leader, the slot it has indexed up to, and what stops its indexer, if anything."""

    holder: str
    slot: int | None
    problem: str | None


async def try_lock(conn: Connection) -> bool:
    """Try to acquire the lock for the rest of this session; return whether it was acquired."""
    return bool(await fetch_value(conn, TRY_LOCK, {"key": KEY}))


async def end_stale_session(conn: Connection) -> None:
    """End the session of a holder whose lease has expired."""
    await conn.execute(END_STALE_SESSION, {"key": KEY, "grace": GRACE_SECONDS})


async def remaining(conn: Connection) -> float:
    """Return for how many seconds the last holder may still act."""
    return float(await fetch_value(conn, REMAINING) or 0)


async def take(conn: Connection, holder: str, *, lease: float) -> int:
    """Begin a term of `lease` seconds and return its number.

    Call it only with the lock, once no time `remaining` is left.
    """
    return int(await fetch_value(conn, TAKE, {"holder": holder, "lease": lease}))


async def renew(
    conn: Connection, term: int, *, lease: float, slot: int | None, problem: str | None
) -> bool:
    """Extend the term to `lease` seconds from now and report; return False if it has ended."""
    told = None if problem is None else storable(problem)
    params = {"term": term, "lease": lease, "slot": slot, "problem": told}
    return (await conn.execute(RENEW, params)).rowcount == 1


async def resign(conn: Connection, term: int) -> None:
    """End the term now, so that a successor need not wait."""
    await conn.execute(RESIGN, {"term": term})


async def report(conn: Connection) -> Report | None:
    """Return the leader's last report, or None while there is no leader."""
    return await fetch_one(conn, Report, REPORT, {})
