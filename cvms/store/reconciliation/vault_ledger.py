"""The three records of a vault that must agree: its row, its history and its newest balance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, fetch_column, query_for
from cvms.store.vaults.history import EFFECTS, Kind
from cvms.store.vaults.vaults import VaultRow

ROWS = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE owner = ANY(%(owners)s)
    """,
)

SUMS = """
WITH effect AS (
    SELECT *
    FROM unnest(
        %(kind)s::TEXT[], %(total)s::INTEGER[], %(available)s::INTEGER[], %(locked)s::INTEGER[],
        %(timelocked)s::INTEGER[], %(yield_deposited)s::INTEGER[]
    ) AS effect (kind, total, available, locked, timelocked, yield_deposited)
)
SELECT wanted.owner,
       coalesce(history.deposited, 0) - coalesce(account.deposited, 0) AS deposited,
       coalesce(history.withdrawn, 0) - coalesce(account.withdrawn, 0) AS withdrawn,
       coalesce(history.total, 0) AS total,
       coalesce(history.available, 0) AS available,
       coalesce(history.locked, 0) AS locked,
       coalesce(history.timelocked, 0) AS timelocked,
       coalesce(history.yield_deposited, 0) AS yield_deposited,
       coalesce(history.emergencies, 0) AS emergencies
FROM unnest(%(owners)s::TEXT[]) AS wanted (owner)
LEFT JOIN account_offsets AS account
  ON account.owner = wanted.owner
LEFT JOIN LATERAL (
    SELECT sum(line.amount) FILTER (WHERE line.kind = %(deposit)s) AS deposited,
           sum(line.amount) FILTER (WHERE line.kind = ANY(%(withdrawals)s)) AS withdrawn,
           sum(effect.total * line.amount) AS total,
           sum(effect.available * line.amount) AS available,
           sum(effect.locked * line.amount) AS locked,
           sum(effect.timelocked * line.amount) AS timelocked,
           sum(effect.yield_deposited * line.amount) AS yield_deposited,
           sum(line.count) FILTER (WHERE line.kind = %(emergency)s) AS emergencies
    FROM history_sums AS line
    JOIN effect
      ON effect.kind = line.kind
    WHERE line.owner = wanted.owner
) AS history ON TRUE
"""

NEWEST = """
SELECT wanted.owner, point.total, point.available, point.locked, point.timelocked,
       point.yield_deposited
FROM unnest(%(owners)s::TEXT[]) AS wanted (owner)
CROSS JOIN LATERAL (
    SELECT total, available, locked, timelocked, yield_deposited
    FROM balance_history
    WHERE owner = wanted.owner
    ORDER BY slot DESC
    LIMIT 1
) AS point
"""


# `history_sums` follows the history by triggers, which whoever restores a database may switch off.
WRONG_SUMS = """
SELECT DISTINCT owner
FROM (
    SELECT owner, kind, count(*) AS count, sum(amount) AS amount
    FROM transactions
    WHERE owner = ANY(%(owners)s)
    GROUP BY owner, kind
) AS counted
FULL JOIN (
    SELECT *
    FROM history_sums
    WHERE owner = ANY(%(owners)s)
) AS kept
  USING (owner, kind)
WHERE (coalesce(counted.count, 0), coalesce(counted.amount, 0))
   <> (coalesce(kept.count, 0), coalesce(kept.amount, 0))
ORDER BY owner
"""

# The kept sums of a history do not follow the rows. A row may be ahead of its history for a moment:
# its slot is not indexed yet.
IN_DOUBT = """
WITH effect AS (
    SELECT *
    FROM unnest(
        %(kind)s::TEXT[], %(total)s::INTEGER[], %(available)s::INTEGER[], %(locked)s::INTEGER[],
        %(timelocked)s::INTEGER[], %(yield_deposited)s::INTEGER[]
    ) AS effect (kind, total, available, locked, timelocked, yield_deposited)
),
history AS (
    SELECT line.owner, sum(effect.total * line.amount) AS total,
           sum(effect.available * line.amount) AS available,
           sum(effect.locked * line.amount) AS locked,
           sum(effect.timelocked * line.amount) AS timelocked,
           sum(effect.yield_deposited * line.amount) AS yield_deposited,
           coalesce(sum(line.count) FILTER (WHERE line.kind = %(emergency)s), 0) AS emergencies
    FROM history_sums AS line
    JOIN effect USING (kind)
    GROUP BY line.owner
)
SELECT owner
FROM vaults
FULL JOIN history USING (owner)
WHERE (
          (coalesce(vaults.total, 0), coalesce(vaults.timelocked, 0),
           coalesce(vaults.yield_deposited, 0))
       <> (coalesce(history.total, 0), coalesce(history.timelocked, 0),
           coalesce(history.yield_deposited, 0))
       OR (
           coalesce(history.emergencies, 0) = 0
           AND (coalesce(vaults.available, 0), coalesce(vaults.locked, 0))
            <> (coalesce(history.available, 0), coalesce(history.locked, 0))
       )
  )
  AND (
      %(ahead)s
      OR coalesce(vaults.slot, 0) <= (SELECT coalesce(max(through), 0) FROM indexer_cursor)
  )
ORDER BY owner
LIMIT %(limit)s
"""

CLEAR_SUMS = "DELETE FROM history_sums WHERE owner = ANY(%(owners)s)"

COUNT_SUMS = """
INSERT INTO history_sums (owner, kind, count, amount)
SELECT owner, kind, count(*), sum(amount)
FROM transactions
WHERE owner = ANY(%(owners)s)
GROUP BY owner, kind
"""


@dataclass(frozen=True, slots=True)
class HistorySums:
    """The sums of an owner's history: what the account should count, and its balances.

    If there are `emergencies`, available and locked are split otherwise, see `running_balances`.
    """

    owner: str
    deposited: int
    withdrawn: int
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    emergencies: int

    def __post_init__(self) -> None:
        for name in ("deposited", "withdrawn", "emergencies", *HELD):
            object.__setattr__(self, name, int(getattr(self, name)))


@dataclass(frozen=True, slots=True)
class NewestBalance:
    """The newest point of an owner's balance history."""

    owner: str
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int


@dataclass(frozen=True, slots=True)
class VaultLedger:
    """The records of an owner's vault; None where there is none."""

    row: VaultRow | None
    sums: HistorySums
    newest: NewestBalance | None


HELD = ("total", "available", "locked", "timelocked", "yield_deposited")
"""The balances that rows, sums and points have in common."""


async def read(conn: Connection, owners: Iterable[str]) -> dict[str, VaultLedger]:
    """Return the ledger of each owner, as of one moment in a REPEATABLE READ transaction."""
    params = params_of(owners)
    rows = {row.owner: row for row in await fetch_all(conn, VaultRow, ROWS, params)}
    newest = {each.owner: each for each in await fetch_all(conn, NewestBalance, NEWEST, params)}
    return {
        each.owner: VaultLedger(rows.get(each.owner), each, newest.get(each.owner))
        for each in await fetch_all(conn, HistorySums, SUMS, params)
    }


async def owners_with_wrong_sums(conn: Connection, owners: Iterable[str]) -> list[str]:
    """Return those of the owners whose kept sums are not those of their history."""
    return await fetch_column(conn, WRONG_SUMS, {"owners": list(owners)})


async def owners_in_doubt(conn: Connection, limit: int, *, ahead: bool) -> list[str]:
    """Return up to `limit` owners whose row, or whose missing one, differs from their history.

    `ahead`: also those whose row is ahead of it.
    """
    return await fetch_column(conn, IN_DOUBT, params_of(()) | {"limit": limit, "ahead": ahead})


async def count_sums(conn: Connection, owners: Iterable[str]) -> None:
    """Count the sums of these owners' history again. Call it under the cursor's lock."""
    params = {"owners": list(owners)}
    await conn.execute(CLEAR_SUMS, params)
    await conn.execute(COUNT_SUMS, params)


def params_of(owners: Iterable[str]) -> dict[str, Any]:
    """Return the parameters of the queries."""
    return {
        "owners": list(owners),
        "deposit": Kind.DEPOSIT,
        "withdrawals": [Kind.WITHDRAW, Kind.EMERGENCY_WITHDRAW],
        "emergency": Kind.EMERGENCY_WITHDRAW,
        "kind": list(EFFECTS),
        **by_column(list(EFFECTS.values()), HELD),
    }
