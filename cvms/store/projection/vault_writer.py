"""The one way to move vaults' rows, forward or back: whatever is a sum of them moves along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cvms.store.analytics import aggregates
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all
from cvms.store.vaults import balance_history, vaults
from cvms.store.vaults.vaults import VaultRow

LOCK = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE owner = ANY(%(owners)s)
ORDER BY owner
FOR UPDATE
"""

READ_AFTER = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE slot > %(slot)s
  AND NOT closed
UNION ALL
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE slot > %(slot)s
  AND closed
ORDER BY owner
"""

NOT_RECHECKED = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE slot > settled_slot
  AND slot <= %(up_to_slot)s
ORDER BY slot
LIMIT %(limit)s
"""

MARK_RECHECKED = """
UPDATE vaults
SET settled_slot = vaults.slot
FROM unnest(%(owner)s::TEXT[], %(slot)s::BIGINT[]) AS again (owner, slot)
WHERE vaults.owner = again.owner
  AND vaults.slot = again.slot
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
    """The rows of accounts that were read in later slots, by owner."""
    return await fetch_all(conn, VaultRow, READ_AFTER, {"slot": slot})


async def replace_after(
    conn: Connection, slot: int, rows: Mapping[str, VaultRow | None]
) -> list[tuple[VaultRow | None, VaultRow | None]]:
    """Store `rows` (by owner; None: there is none), though those that are there were read in later
    slots, and forget what was noted of these vaults after `slot`. What was there before, beside
    each.

    Call it inside a transaction, under the indexer's lock, once.
    """
    await balance_history.forget_after(conn, list(rows), slot)
    return await _replace(conn, rows)


async def overwrite(conn: Connection, rows: Sequence[VaultRow]) -> None:
    """Store `rows` in place of readings that may have been of a dropped block.

    Call it inside a transaction, under the indexer's lock, once.
    """
    await _replace(conn, {row.owner: row for row in rows})


async def _replace(
    conn: Connection, rows: Mapping[str, VaultRow | None]
) -> list[tuple[VaultRow | None, VaultRow | None]]:
    owners = sorted(rows)
    held = {row.owner: row for row in await fetch_all(conn, VaultRow, LOCK, {"owners": owners})}
    await conn.execute(DROP, {"owners": [owner for owner in owners if rows[owner] is None]})
    await conn.execute(FORGET_SLOTS, {"owners": owners})
    new = [row for owner in owners if (row := rows[owner]) is not None]
    await vaults.upsert_all(conn, new)
    await balance_history.begin(conn, new)
    pairs = [(held.get(owner), rows[owner]) for owner in owners]
    await aggregates.moved(conn, pairs)
    return pairs


async def not_rechecked(conn: Connection, *, up_to_slot: int, limit: int) -> list[VaultRow]:
    """Up to `limit` rows that were read in slots up to `up_to_slot`, and not again since."""
    return await fetch_all(
        conn, VaultRow, NOT_RECHECKED, {"up_to_slot": up_to_slot, "limit": limit}
    )


async def mark_rechecked(conn: Connection, rows: Sequence[VaultRow]) -> list[VaultRow]:
    """Note that these were read again; returns those that have not moved meanwhile."""
    cursor = await conn.execute(MARK_RECHECKED, by_column(rows, ("owner", "slot")))
    same = {owner for (owner,) in await cursor.fetchall()}
    return [row for row in rows if row.owner in same]


async def advance(
    conn: Connection, rows: Sequence[VaultRow], *, final: bool = True
) -> list[tuple[VaultRow | None, VaultRow]]:
    """Store the rows that are not older than the stored ones; what was there before beside each.

    `final`: no fork drops what they were read from, and the events up to there are applied.

    Call it inside a transaction, once, with one row for an owner. Only the indexer, who holds the
    cursor, stores vaults that have no row yet.
    """
    if not rows:
        return []
    owners = [row.owner for row in rows]
    held = {row.owner: row for row in await fetch_all(conn, VaultRow, LOCK, {"owners": owners})}
    taken = await vaults.upsert_all(conn, rows)
    stored = [(held.get(row.owner), row) for row in rows if row.owner in taken]
    note = balance_history.observe if final else balance_history.begin
    await note(conn, [row for _, row in stored])
    await aggregates.moved(conn, stored)
    return stored
