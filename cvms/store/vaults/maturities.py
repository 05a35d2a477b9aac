"""Timelocks and pending withdrawals of vaults, and which notices of them were sent.

A trigger (schema.sql) keeps the rows of `maturities` in step with those of `vaults`. Times are the
chain's, in Unix seconds. A row is marked in the transaction that appends its notice, and concurrent
callers skip each other's locked rows, so each notice is sent once.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_column, fetch_value, query_for

Kind = Literal["timelock", "withdrawal"]


@dataclass(frozen=True, slots=True)
class Maturity:
    """An amount, in token units, that a vault's owner can move from `due_at` on."""

    owner: str
    vault: str
    kind: Kind
    amount: int
    due_at: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "amount", int(self.amount))


CLAIM_DUE_SOON = query_for(
    Maturity,
    """
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
    UPDATE maturities
    SET soon_told_at = now()
    FROM due
    WHERE (maturities.owner, maturities.kind, maturities.due_at, maturities.place)
        = (due.owner, due.kind, due.due_at, due.place)
    RETURNING {columns:maturities}
    """,
)

CLAIM_DUE = query_for(
    Maturity,
    """
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
    UPDATE maturities
    SET told_at = now()
    FROM due
    WHERE (maturities.owner, maturities.kind, maturities.due_at, maturities.place)
        = (due.owner, due.kind, due.due_at, due.place)
    RETURNING {columns:maturities}
    """,
)

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

# Not while a release that was sent may still land, or land again after a fork drops its block.
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

# A row that a fork brings back returns within seconds, not days.
PRUNE = """
DELETE FROM maturities
WHERE NOT live
  AND changed_at < now() - %(age)s
"""


async def claim_due_soon(conn: Connection, *, now: int, notice: int, limit: int) -> list[Maturity]:
    """Mark and return up to `limit` timelocks that fall due within `notice` seconds."""
    params = {"now": now, "notice": notice, "limit": limit}
    return await fetch_all(conn, Maturity, CLAIM_DUE_SOON, params)


async def claim_due(conn: Connection, *, now: int, limit: int) -> list[Maturity]:
    """Mark and return up to `limit` timelocks and withdrawals that are due."""
    return await fetch_all(conn, Maturity, CLAIM_DUE, {"now": now, "limit": limit})


async def next_notice(conn: Connection, *, notice: int) -> int | None:
    """Return the chain's time of the next notice, which may be past; None if there is none."""
    due: int | None = await fetch_value(conn, NEXT_NOTICE, {"notice": notice})
    return due


async def to_release(
    conn: Connection, *, kind: str, now: int, limit: int, deferred: Collection[str]
) -> list[str]:
    """Return up to `limit` owners with matured timelocks, the longest due first.

    Leaves out those in `deferred` and those with a submission of `kind` that is not final.
    """
    params = {"kind": kind, "now": now, "limit": limit, "except": list(deferred)}
    return await fetch_column(conn, TO_RELEASE, params)


async def any_to_release(conn: Connection, *, now: int, deferred: Collection[str]) -> bool:
    """Return whether any vault has a matured timelock, whether or not a release is in flight.

    Leaves out the owners in `deferred`.
    """
    return bool(await fetch_value(conn, ANY_TO_RELEASE, {"now": now, "except": list(deferred)}))


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the rows that left their vault longer than `age` ago; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount
