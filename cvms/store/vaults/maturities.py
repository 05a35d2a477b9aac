"""What falls due in vaults: timelocks and pending withdrawals, and who was told of them.

The rows of `maturities` follow the vaults' rows by a trigger (schema.sql). Times are the chain's,
in Unix seconds. What is told is marked in the transaction that tells it; those who tell at once
skip what another holds, so each is told once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all

CLAIM_DUE_SOON = """
WITH due AS (
    SELECT owner, kind, due_at, place
    FROM maturities
    WHERE live
      AND kind = 'timelock'
      AND soon_told_at IS NULL
      AND told_at IS NULL
      AND due_at > %(now)s
      AND due_at <= %(now)s::BIGINT + %(notice)s
    ORDER BY due_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE maturities AS told
SET soon_told_at = now()
FROM due
WHERE (told.owner, told.kind, told.due_at, told.place)
    = (due.owner, due.kind, due.due_at, due.place)
RETURNING told.owner, told.vault, told.kind, told.amount, told.due_at
"""

CLAIM_DUE = """
WITH due AS (
    SELECT owner, kind, due_at, place
    FROM maturities
    WHERE live
      AND told_at IS NULL
      AND due_at <= %(now)s
    ORDER BY due_at
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
)
UPDATE maturities AS told
SET told_at = now()
FROM due
WHERE (told.owner, told.kind, told.due_at, told.place)
    = (due.owner, due.kind, due.due_at, due.place)
RETURNING told.owner, told.vault, told.kind, told.amount, told.due_at
"""

NEXT_NOTICE = """
SELECT least(
    (
        SELECT min(due_at) - %(notice)s
        FROM maturities
        WHERE live
          AND kind = 'timelock'
          AND soon_told_at IS NULL
          AND told_at IS NULL
    ),
    (
        SELECT min(due_at)
        FROM maturities
        WHERE live
          AND told_at IS NULL
    )
)
"""

# Not while a release that was sent may land, or land anew when a fork drops its block.
TO_RELEASE = """
WITH busy AS (
    SELECT unnest(owner || owners) AS owner
    FROM submissions
    WHERE state IN ('pending', 'submitted', 'confirmed')
      AND kind = %(kind)s
)
SELECT owner
FROM maturities
WHERE live
  AND kind = 'timelock'
  AND due_at <= %(now)s
  AND owner <> ALL(%(except)s)
  AND owner NOT IN (SELECT owner FROM busy)
GROUP BY owner
ORDER BY min(due_at), owner
LIMIT %(limit)s
"""

ANY_TO_RELEASE = """
SELECT EXISTS (
    SELECT
    FROM maturities
    WHERE live
      AND kind = 'timelock'
      AND due_at <= %(now)s
      AND owner <> ALL(%(except)s)
)
"""

# A vault whose account is anew what it was before a fork was so within seconds, not days.
PRUNE = """
DELETE FROM maturities
WHERE NOT live
  AND changed_at < now() - %(age)s
"""

Kind = Literal["timelock", "withdrawal"]


@dataclass(frozen=True, slots=True)
class Maturity:
    """An amount, in token units, that a vault's owner waits for until `due_at`."""

    owner: str
    vault: str
    kind: Kind
    amount: int
    due_at: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", int(self.amount))


async def claim_due_soon(conn: Connection, *, now: int, notice: int, limit: int) -> list[Maturity]:
    """Up to `limit` timelocks that fall due within `notice` seconds, marked as told."""
    params = {"now": now, "notice": notice, "limit": limit}
    return await fetch_all(conn, Maturity, CLAIM_DUE_SOON, params)


async def claim_due(conn: Connection, *, now: int, limit: int) -> list[Maturity]:
    """Up to `limit` timelocks and withdrawals that are due, marked as told."""
    return await fetch_all(conn, Maturity, CLAIM_DUE, {"now": now, "limit": limit})


async def next_notice(conn: Connection, *, notice: int) -> int | None:
    """The chain's time from which something is to be told, be it past; None while nothing is."""
    cursor = await conn.execute(NEXT_NOTICE, {"notice": notice})
    row = await cursor.fetchone()
    assert row is not None
    due: int | None = row[0]
    return due


async def to_release(
    conn: Connection, *, kind: str, now: int, limit: int, deferred: Collection[str]
) -> list[str]:
    """Up to `limit` owners with matured timelocks, the longest due first.

    Without those `aside`, and without those of whom a submission of `kind` is not final.
    """
    params = {"kind": kind, "now": now, "limit": limit, "except": list(deferred)}
    cursor = await conn.execute(TO_RELEASE, params)
    return [owner for (owner,) in await cursor.fetchall()]


async def any_to_release(conn: Connection, *, now: int, deferred: Collection[str]) -> bool:
    """Whether the row of any vault but those `aside` has a matured timelock, under way or not."""
    cursor = await conn.execute(ANY_TO_RELEASE, {"now": now, "except": list(deferred)})
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete what left its vault longer than `age` ago; returns how many."""
    cursor = await conn.execute(PRUNE, {"age": age})
    return cursor.rowcount
