"""Vaults, open and closed, by the beginning of their owners' addresses."""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, query_for
from cvms.store.vaults.vaults import VaultRow

# Addresses are ASCII. The index `vaults_by_address` has their order, whatever the database's is.
PAGE = query_for(
    VaultRow,
    """
    SELECT {columns}
    FROM vaults
    WHERE closed = %(closed)s
      AND owner COLLATE "C" > %(after)s
      AND owner COLLATE "C" >= %(first)s
      AND owner COLLATE "C" < %(end)s
    ORDER BY owner COLLATE "C"
    LIMIT %(limit)s
    """,
)

AFTER_BASE58 = "{"
"""The character after `z`."""


async def page(
    conn: Connection, *, prefix: str, closed: bool | None, after: str, limit: int
) -> list[VaultRow]:
    """Return up to `limit` vaults whose owner begins with `prefix`, ordered by owner.

    Those after the owner `after`; of all states if `closed` is None.
    """
    params = {"after": after, "first": prefix, "end": prefix + AFTER_BASE58, "limit": limit}
    rows: list[VaultRow] = []
    for each in (False, True) if closed is None else (closed,):
        rows += await fetch_all(conn, VaultRow, PAGE, params | {"closed": each})
    return sorted(rows, key=lambda row: row.owner)[:limit]
