"""The one way to bring vaults' rows forward: whatever is a sum of them moves along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvms.store import analytics, balance_history, vaults
from cvms.store.connection import TrioConnection
from cvms.store.rows import fetch_all
from cvms.store.vaults import VaultRow

LOCK = """
SELECT owner, vault, token_account, mint, total, available, locked, timelocked, yield_deposited,
       total_deposited, total_withdrawn, multisig_threshold, delegates, state, slot, updated_at
FROM vaults
WHERE owner = ANY(%(owners)s)
ORDER BY owner
FOR UPDATE
"""


async def bring_forward(
    conn: TrioConnection[Any], rows: Sequence[VaultRow]
) -> list[tuple[VaultRow | None, VaultRow]]:
    """Store the rows that are not older than the stored ones; what was there before beside each.

    Call it inside a transaction, once, with one row for an owner. Only the indexer, who holds the
    cursor, stores vaults that have no row yet.
    """
    if not rows:
        return []
    owners = [row.owner for row in rows]
    held = {row.owner: row for row in await fetch_all(conn, VaultRow, LOCK, {"owners": owners})}
    stored = [(held.get(row.owner), row) for row in rows if await vaults.upsert(conn, row)]
    await balance_history.observe(conn, [row for _, row in stored])
    await analytics.moved(conn, stored)
    return stored
