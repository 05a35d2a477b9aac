"""What the service submits of itself: one transaction at a time for each vault and purpose."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.store.postgres.driver.connection import Connection

# In one order for everybody, so that no two wait for each other.
TAKE_ALL_TURNS = """
SELECT pg_advisory_xact_lock(turn)
FROM (
    SELECT DISTINCT hashtextextended('submission:' || %(kind)s || ':' || owner, 0) AS turn
    FROM unnest(%(owners)s::TEXT[]) AS given (owner)
    ORDER BY turn
) AS turns
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
    """Whether no submission of this kind for any of these owners is short of being final.

    Takes turns as `find_pending` does, with whoever asks that too.
    """
    params = {"kind": kind, "owners": list(owners)}
    await conn.execute(TAKE_ALL_TURNS, params)
    cursor = await conn.execute(HAS_NO_PENDING, params)
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def count_pending(conn: Connection, kind: str) -> int:
    """How many submissions of this kind are signed and not in a block yet."""
    cursor = await conn.execute(COUNT_PENDING, {"kind": kind})
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
