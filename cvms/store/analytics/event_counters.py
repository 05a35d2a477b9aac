"""Counters of events that survive a restart."""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection

ADD = """
INSERT INTO event_totals (kind, count, amount)
VALUES (%(kind)s, %(count)s, %(amount)s)
ON CONFLICT (kind) DO UPDATE SET
    count = event_totals.count + EXCLUDED.count,
    amount = event_totals.amount + EXCLUDED.amount
"""

# Not with ADD: a negative amount fails the CHECK, even if it would end in an update.
SUBTRACT = """
UPDATE event_totals
SET count = greatest(0, count - %(count)s),
    amount = greatest(0, amount - %(amount)s)
WHERE kind = %(kind)s
"""

DROP_EMPTY = """
DELETE FROM event_totals
WHERE count = 0
"""

READ = """
SELECT kind, count, amount
FROM event_totals
"""


async def add(conn: Connection, kind: str, count: int, amount: int) -> None:
    """Add `count` events of a kind that moved `amount` units in total."""
    await conn.execute(ADD, {"kind": kind, "count": count, "amount": amount})


async def subtract(conn: Connection, kind: str, count: int, amount: int) -> None:
    """Subtract `count` events of a kind that moved `amount` units in total."""
    await conn.execute(SUBTRACT, {"kind": kind, "count": count, "amount": amount})
    await conn.execute(DROP_EMPTY)


async def read(conn: Connection) -> dict[str, tuple[int, int]]:
    """Return the number of events and the units they moved, by kind."""
    cursor = await conn.execute(READ)
    return {kind: (count, amount) for kind, count, amount in await cursor.fetchall()}
