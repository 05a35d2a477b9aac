"""The only writer of vault rows, forward and back: the sums over all vaults change with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cvms.store.analytics import aggregates
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, fetch_column, query_for
from cvms.store.vaults import balance_history, vaults
from cvms.store.vaults.vaults import VaultRow

LOCK = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE owner = ANY(%(owners)s)
    ORDER BY owner
    FOR UPDATE
    """,
)

# Two queries, since each has a partial index.
READ_AFTER = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE slot > %(slot)s
      AND NOT closed
    UNION ALL
    SELECT {columns}
    FROM vaults
    WHERE slot > %(slot)s
      AND closed
    ORDER BY owner
    """,
)

NOT_RECHECKED = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE slot > settled_slot
      AND slot <= %(up_to_slot)s
    ORDER BY slot
    LIMIT %(limit)s
    """,
)

MARK_RECHECKED = """
UPDATE vaults
SET settled_slot = vaults.slot
FROM unnest(%(owner)s::TEXT[], %(slot)s::BIGINT[]) AS rechecked (owner, slot)
WHERE vaults.owner = rechecked.owner
  AND vaults.slot = rechecked.slot
RETURNING vaults.owner
"""

DROP = """
DELETE FROM vaults
WHERE owner = ANY(%(owners)s)
"""

FORGET_SLOTS = """
UPDATE vaults
SET slot = 0, settled_slot = 0
WHERE owner = ANY(%(owners)s)
"""


async def read_after(conn: Connection, slot: int) -> list[VaultRow]:
    """Return the rows read from accounts after `slot`, ordered by owner."""
    return await fetch_all(conn, VaultRow, READ_AFTER, {"slot": slot})


async def replace_after(
    conn: Connection, slot: int, rows: Mapping[str, VaultRow | None]
) -> list[tuple[VaultRow | None, VaultRow | None]]:
    """Replace the rows of these owners, even with older slots, and drop their points after `slot`.

    `rows` is keyed by owner; None deletes the row. Returns each former row with its new one. Call
    it inside a transaction, under the indexer's lock, once.
    """
    await balance_history.forget_after(conn, list(rows), slot)
    return await _replace(conn, rows)


async def overwrite(conn: Connection, rows: Sequence[VaultRow]) -> None:
    """Replace rows that may have been read from a dropped block, even with older slots.

    Call it inside a transaction, under the indexer's lock, once.
    """
    await _replace(conn, {row.owner: row for row in rows})


async def _replace(
    conn: Connection, rows: Mapping[str, VaultRow | None]
) -> list[tuple[VaultRow | None, VaultRow | None]]:
    owners = sorted(rows)
    before = await _lock(conn, owners)
    await conn.execute(DROP, {"owners": [owner for owner in owners if rows[owner] is None]})
    await conn.execute(FORGET_SLOTS, {"owners": owners})
    new = [row for owner in owners if (row := rows[owner]) is not None]
    await vaults.upsert_all(conn, new)
    await balance_history.begin(conn, new)
    pairs = [(before.get(owner), rows[owner]) for owner in owners]
    await aggregates.moved(conn, pairs)
    return pairs


async def not_rechecked(conn: Connection, *, up_to_slot: int, limit: int) -> list[VaultRow]:
    """Return up to `limit` rows read in slots up to `up_to_slot` and not rechecked since."""
    return await fetch_all(
        conn, VaultRow, NOT_RECHECKED, {"up_to_slot": up_to_slot, "limit": limit}
    )


async def mark_rechecked(conn: Connection, rows: Sequence[VaultRow]) -> list[VaultRow]:
    """Mark these rows as rechecked; return those that have not moved meanwhile."""
    marked = set(await fetch_column(conn, MARK_RECHECKED, by_column(rows, ("owner", "slot"))))
    return [row for row in rows if row.owner in marked]


async def advance(
    conn: Connection, rows: Sequence[VaultRow], *, final: bool = True
) -> list[tuple[VaultRow | None, VaultRow]]:
    """Store the rows that are not older than the stored ones; return each with its former row.

    `final` means that no fork can drop the accounts read, and that the events up to their slots
    are applied. Call it inside a transaction, once, with one row for each owner. Only the indexer,
    which holds the cursor, may store vaults that have no row yet.
    """
    if not rows:
        return []
    before = await _lock(conn, [row.owner for row in rows])
    advanced = await vaults.upsert_all(conn, rows)
    stored = [(before.get(row.owner), row) for row in rows if row.owner in advanced]
    add_points = balance_history.observe if final else balance_history.begin
    await add_points(conn, [row for _, row in stored])
    await aggregates.moved(conn, stored)
    return stored


async def _lock(conn: Connection, owners: Sequence[str]) -> dict[str, VaultRow]:
    rows = await fetch_all(conn, VaultRow, LOCK, {"owners": owners})
    return {row.owner: row for row in rows}
