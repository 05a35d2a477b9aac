"""Submissions of the service itself: one at a time for each vault and kind."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value

# In one order for all callers, so that no two can deadlock.
LOCK_ALL = """
SELECT pg_advisory_xact_lock(key)
FROM (
    SELECT DISTINCT hashtextextended('submission:' || %(kind)s || ':' || owner, 0) AS key
    FROM unnest(%(owners)s::TEXT[]) AS given (owner)
    ORDER BY key
) AS keys
"""

HAS_NO_PENDING = """
SELECT NOT EXISTS (
    SELECT
    FROM submissions
    WHERE state IN ('pending', 'submitted', 'confirmed')
      AND kind = %(kind)s
      AND (owner = ANY(%(owners)s) OR owners && %(owners)s)
)
"""

COUNT_PENDING = """
SELECT count(*)
FROM submissions
WHERE state IN ('pending', 'submitted')
  AND kind = %(kind)s
"""


async def has_no_pending(conn: Connection, kind: str, owners: Sequence[str]) -> bool:
    """Return whether every signed submission of this kind for any of these owners is final.

    Takes the lock of `find_pending` for each owner, until the transaction ends.
    """
    params = {"kind": kind, "owners": list(owners)}
    await conn.execute(LOCK_ALL, params)
    return bool(await fetch_value(conn, HAS_NO_PENDING, params))


async def count_pending(conn: Connection, kind: str) -> int:
    """Return how many submissions of this kind are signed and not in a block yet."""
    return int(await fetch_value(conn, COUNT_PENDING, {"kind": kind}))
