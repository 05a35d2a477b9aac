"""Detects a pooler that gives a session's backend to other sessions between its transactions.

The leader's lock, LISTEN and prepared statements belong to a backend, and would silently be lost.
"""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection

BACKEND = "SELECT pg_backend_pid()"

# One is enough unless other clients use the same backends at the same moments.
ROUNDS = 5


async def is_behind_pooler(session: Connection) -> bool:
    """Return whether something between the server and us has answered the login."""
    return await _backend(session) != session.pgconn.backend_pid


async def backends_are_shared(one: Connection, other: Connection) -> bool:
    """Return whether two open sessions lack a backend each of their own.

    A pooler may give out the backend that was used last, so both have the same one, or the one
    that was used the longest ago, so those of one session differ.
    """
    backends: tuple[set[int], set[int]] = (set(), set())
    for _ in range(ROUNDS):
        for session, number in ((one, 0), (other, 1), (other, 1)):
            backends[number].add(await _backend(session))
        if len(backends[0]) > 1 or len(backends[1]) > 1 or backends[0] & backends[1]:
            return True
    return False


async def _backend(session: Connection) -> int:
    # Not prepared: in transaction mode the next backend would not know the statement.
    row = await (await session.execute(BACKEND, prepare=False)).fetchone()
    assert row is not None
    return int(row[0])
