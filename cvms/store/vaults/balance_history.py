"""The balances of each vault as of any slot.

A point holds the balances of an owner's vault from its slot until the next point. The indexer
writes one for each slot in which the vault's events moved anything. Once the slot of an account is
final and its events are applied, a point is also written for the account if it differs from what
the points before it say: the account is right at its slot, whatever the logs contained.

A rollback deletes the points after the last slot that remains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_all,
    fetch_one,
    fetch_value,
    query_for,
)
from cvms.store.vaults.vaults import VaultRow


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancePoint:
    """The balances of a vault from `slot` on. Amounts in the token's smallest unit.

    `block_time` is that of the last movement, None where the account was read (`observed`).
    """

    owner: str
    slot: int
    vault: str
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    block_time: datetime | None
    observed: bool


# What an account itself says.
OBSERVED = columns(BalancePoint, without={"block_time", "observed"})
MAX_SLOT = 2**63 - 1

AT = query_for(
    BalancePoint,
    """
    SELECT {columns}
    FROM balance_history
    WHERE owner = %(owner)s
      AND slot <= %(slot)s
    ORDER BY slot DESC
    LIMIT 1
    """,
)

FIRST_SLOT = """
SELECT min(slot)
FROM balance_history
WHERE owner = %(owner)s
"""

SINCE = query_for(
    BalancePoint,
    """
    SELECT {columns:point}
    FROM unnest(%(owner)s::TEXT[], %(slot)s::BIGINT[]) AS wanted (owner, slot)
    JOIN balance_history AS point
      ON point.owner = wanted.owner
     AND point.slot >= coalesce(
             (
                 SELECT max(earlier.slot)
                 FROM balance_history AS earlier
                 WHERE earlier.owner = wanted.owner
                   AND earlier.slot <= wanted.slot
             ),
             wanted.slot
         )
    """,
)

PUT = query_for(
    BalancePoint,
    """
    INSERT INTO balance_history ({columns})
    SELECT {columns}
    FROM unnest({arrays}) AS point ({columns})
    ON CONFLICT (owner, slot) DO UPDATE SET {updates}
    """,
    key={"owner", "slot"},
)

OBSERVE = query_for(
    BalancePoint,
    """
    INSERT INTO balance_history ({columns}, observed)
    SELECT {columns:seen}, TRUE
    FROM unnest({arrays}) AS seen ({columns})
    LEFT JOIN LATERAL (
        SELECT total, available, locked, timelocked, yield_deposited
        FROM balance_history AS point
        WHERE point.owner = seen.owner
          AND point.slot <= seen.slot
        ORDER BY point.slot DESC
        LIMIT 1
    ) AS known ON TRUE
    WHERE (known.total, known.available, known.locked, known.timelocked, known.yield_deposited)
        IS DISTINCT FROM
          (seen.total, seen.available, seen.locked, seen.timelocked, seen.yield_deposited)
    ON CONFLICT (owner, slot) DO UPDATE SET {updates}, observed = TRUE
    """,
    key={"owner", "slot"},
    without={"block_time", "observed"},
)

# Nothing in the history says that the vault was open and empty before its first movement.
DELETE = """
DELETE FROM balance_history
WHERE owner = %(owner)s
  AND NOT (
      observed
      AND (total, available, locked, timelocked, yield_deposited) = (0, 0, 0, 0, 0)
      AND slot < %(first)s
  )
"""

FORGET_AFTER = """
DELETE FROM balance_history
WHERE owner = ANY(%(owners)s)
  AND slot > %(slot)s
"""

# A point for an empty vault, so that its past does not begin with its first movement.
BEGIN = """
INSERT INTO balance_history (
    owner, slot, vault, total, available, locked, timelocked, yield_deposited, observed
)
SELECT owner, slot, vault, 0, 0, 0, 0, 0, TRUE
FROM unnest(%(owner)s::TEXT[], %(slot)s::BIGINT[], %(vault)s::TEXT[]) AS seen (owner, slot, vault)
WHERE NOT EXISTS (
    SELECT FROM balance_history AS point
    WHERE point.owner = seen.owner
)
ON CONFLICT (owner, slot) DO NOTHING
"""

FIRST_SLOT_SINCE = """
SELECT min(slot)
FROM balance_history
WHERE block_time BETWEEN %(since)s AND now() + %(margin)s
"""


async def at(conn: Connection, owner: str, slot: int) -> BalancePoint | None:
    """Return the balances of the owner's vault at the end of `slot`; None before the first."""
    return await fetch_one(conn, BalancePoint, AT, {"owner": owner, "slot": slot})


async def first_slot(conn: Connection, owner: str) -> int | None:
    """Return the slot of the owner's first point, or None if there is none."""
    slot: int | None = await fetch_value(conn, FIRST_SLOT, {"owner": owner})
    return slot


async def since(conn: Connection, slots: Mapping[str, int]) -> list[BalancePoint]:
    """Return for each owner the point in effect at the given slot and all later ones, unordered."""
    params = {"owner": list(slots), "slot": list(slots.values())}
    return await fetch_all(conn, BalancePoint, SINCE, params)


async def put(conn: Connection, points: Sequence[BalancePoint]) -> None:
    """Store the points; at most one for each owner and slot."""
    if points:
        await conn.execute(PUT, by_column(points, columns(BalancePoint)))


async def observe(conn: Connection, rows: Sequence[VaultRow]) -> None:
    """Store the balances of accounts at their slots where the points say something else.

    The slots must be final, and their events applied.
    """
    if rows:
        await conn.execute(OBSERVE, by_column(rows, OBSERVED))


async def rewrite(conn: Connection, owner: str, points: Sequence[BalancePoint]) -> None:
    """Replace the owner's points, except those of the empty vault before the first of `points`."""
    first = min((point.slot for point in points), default=MAX_SLOT)
    await conn.execute(DELETE, {"owner": owner, "first": first})
    await put(conn, points)


async def begin(conn: Connection, rows: Sequence[VaultRow]) -> None:
    """Store a first point for each empty vault whose owner has none.

    The balances of other vaults may be ahead of the events, in a block that a fork can drop. A
    point for them would count those events twice when they land in another block.
    """
    empty = [row for row in rows if row.total == 0]
    if empty:
        await conn.execute(BEGIN, by_column(empty, ("owner", "slot", "vault")))


async def forget_after(conn: Connection, owners: Sequence[str], slot: int) -> None:
    """Delete these owners' points after `slot`, which a fork has dropped."""
    await conn.execute(FORGET_AFTER, {"owners": list(owners), "slot": slot})


async def first_slot_since(conn: Connection, since: datetime, *, margin: timedelta) -> int | None:
    """Return the lowest slot with a movement whose block is of `since` or later.

    Times that are more than `margin` after now are wrong, and not counted.
    """
    params = {"since": since, "margin": margin}
    slot: int | None = await fetch_value(conn, FIRST_SLOT_SINCE, params)
    return slot
