"""What each vault held as of any slot.

A point says what an owner's vault held from its slot on, until the next one. The indexer writes a
point for each slot in which a vault's events moved anything. Once the slot of an account is final
and its events are applied, there is a point for it too if it is not what the points before it say:
the account is right at its slot, whatever was in the logs.

A fork's slots are taken back by forgetting the points after the last that stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, fetch_one
from cvms.store.vaults.vaults import VaultRow

AT = """
SELECT owner, slot, vault, total, available, locked, timelocked, yield_deposited, block_time,
       observed
FROM balance_history
WHERE owner = %(owner)s
  AND slot <= %(slot)s
ORDER BY slot DESC
LIMIT 1
"""

FIRST_SLOT = """
SELECT min(slot)
FROM balance_history
WHERE owner = %(owner)s
"""

# For each owner the point that holds at the slot given, and those after it.
SINCE = """
SELECT point.owner, point.slot, vault, total, available, locked, timelocked, yield_deposited,
       block_time, observed
FROM unnest(%(owner)s::TEXT[], %(slot)s::BIGINT[]) AS wanted (owner, slot)
JOIN balance_history AS point
  ON point.owner = wanted.owner
 AND point.slot >= coalesce(
         (
             SELECT max(held.slot)
             FROM balance_history AS held
             WHERE held.owner = wanted.owner
               AND held.slot <= wanted.slot
         ),
         wanted.slot
     )
"""

PUT = """
INSERT INTO balance_history (
    owner, slot, vault, total, available, locked, timelocked, yield_deposited, block_time, observed
)
SELECT owner, slot, vault, total, available, locked, timelocked, yield_deposited, block_time,
       observed
FROM unnest(
    %(owner)s::TEXT[], %(slot)s::BIGINT[], %(vault)s::TEXT[], %(total)s::BIGINT[],
    %(available)s::BIGINT[], %(locked)s::BIGINT[], %(timelocked)s::BIGINT[],
    %(yield_deposited)s::BIGINT[], %(block_time)s::TIMESTAMPTZ[], %(observed)s::BOOLEAN[]
) AS point (
    owner, slot, vault, total, available, locked, timelocked, yield_deposited, block_time, observed
)
ON CONFLICT (owner, slot) DO UPDATE SET
    vault = EXCLUDED.vault,
    total = EXCLUDED.total,
    available = EXCLUDED.available,
    locked = EXCLUDED.locked,
    timelocked = EXCLUDED.timelocked,
    yield_deposited = EXCLUDED.yield_deposited,
    block_time = EXCLUDED.block_time,
    observed = EXCLUDED.observed
"""

OBSERVE = """
INSERT INTO balance_history (
    owner, slot, vault, total, available, locked, timelocked, yield_deposited, observed
)
SELECT seen.owner, seen.slot, seen.vault, seen.total, seen.available, seen.locked, seen.timelocked,
       seen.yield_deposited, TRUE
FROM unnest(
    %(owner)s::TEXT[], %(slot)s::BIGINT[], %(vault)s::TEXT[], %(total)s::BIGINT[],
    %(available)s::BIGINT[], %(locked)s::BIGINT[], %(timelocked)s::BIGINT[],
    %(yield_deposited)s::BIGINT[]
) AS seen (owner, slot, vault, total, available, locked, timelocked, yield_deposited)
LEFT JOIN LATERAL (
    SELECT total, available, locked, timelocked, yield_deposited
    FROM balance_history AS point
    WHERE point.owner = seen.owner
      AND point.slot <= seen.slot
    ORDER BY point.slot DESC
    LIMIT 1
) AS held ON TRUE
WHERE (held.total, held.available, held.locked, held.timelocked, held.yield_deposited)
    IS DISTINCT FROM
      (seen.total, seen.available, seen.locked, seen.timelocked, seen.yield_deposited)
ON CONFLICT (owner, slot) DO UPDATE SET
    vault = EXCLUDED.vault,
    total = EXCLUDED.total,
    available = EXCLUDED.available,
    locked = EXCLUDED.locked,
    timelocked = EXCLUDED.timelocked,
    yield_deposited = EXCLUDED.yield_deposited,
    observed = TRUE
"""

# That the vault was there and empty before its first movement is nothing that a line tells.
FORGET = """
DELETE FROM balance_history
WHERE owner = %(owner)s
  AND NOT (
      observed
      AND (total, available, locked, timelocked, yield_deposited) = (0, 0, 0, 0, 0)
      AND slot < %(first)s
  )
"""

_LAST = 2**63 - 1
FORGET_AFTER = """
DELETE FROM balance_history
WHERE owner = ANY(%(owners)s)
  AND slot > %(slot)s
"""

# A vault that holds nothing yet, so that its past does not begin with its first movement.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BalancePoint:
    """What a vault held from `slot` on. Amounts in the token's smallest unit.

    `block_time` is that of the last movement, None where an account told (`observed`).
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


async def at(conn: Connection, owner: str, slot: int) -> BalancePoint | None:
    """What the vault of `owner` held at the end of `slot`; None before the first point."""
    return await fetch_one(conn, BalancePoint, AT, {"owner": owner, "slot": slot})


async def first_slot(conn: Connection, owner: str) -> int | None:
    """The slot of the first point of `owner`; None where there is none."""
    cursor = await conn.execute(FIRST_SLOT, {"owner": owner})
    row = await cursor.fetchone()
    assert row is not None
    slot: int | None = row[0]
    return slot


async def since(conn: Connection, slots: Mapping[str, int]) -> list[BalancePoint]:
    """For each owner the point that holds at the slot given, and the later ones, in no order."""
    params = {"owner": list(slots), "slot": list(slots.values())}
    return await fetch_all(conn, BalancePoint, SINCE, params)


async def put(conn: Connection, points: Sequence[BalancePoint]) -> None:
    """Store the points; at most one for each owner and slot."""
    if points:
        await conn.execute(PUT, by_column(points, BalancePoint.__slots__))


async def observe(conn: Connection, rows: Sequence[VaultRow]) -> None:
    """Note what accounts hold at their slots, where the points do not say so already.

    The slots have to be final, and their events applied.
    """
    if rows:
        names = ("owner", "slot", "vault", "total", "available", "locked", "timelocked")
        await conn.execute(OBSERVE, by_column(rows, (*names, "yield_deposited")))


async def rewrite(conn: Connection, owner: str, points: Sequence[BalancePoint]) -> None:
    """These are the points of `owner`, but for those of the empty vault before them."""
    first = min((point.slot for point in points), default=_LAST)
    await conn.execute(FORGET, {"owner": owner, "first": first})
    await put(conn, points)


async def begin(conn: Connection, rows: Sequence[VaultRow]) -> None:
    """Note those that hold nothing, where nothing is known of the owner yet.

    What others hold may be ahead of the events, in a block that a fork can drop: with a point of it
    the events would count twice when they land in another.
    """
    empty = [row for row in rows if row.total == 0]
    if empty:
        await conn.execute(BEGIN, by_column(empty, ("owner", "slot", "vault")))


async def forget_after(conn: Connection, owners: Sequence[str], slot: int) -> None:
    """Drop these owners' points of later slots: a fork has dropped them."""
    await conn.execute(FORGET_AFTER, {"owners": list(owners), "slot": slot})
