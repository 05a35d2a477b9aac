"""The newest applied transactions: what a fork may drop, and where the cursor is rewound to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, fetch_column, query_for

KEPT_FINAL = 2
"""How many final transactions are kept: the one the cursor is at, and the one before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTransaction:
    """An applied transaction. The database sets `place`; leave it out when adding."""

    slot: int
    signature: str
    final: bool
    place: int = 0


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """A row as it was before a transaction changed it, None if there was none.

    `key` is the vault of a vault_mint and the owner of the others. For a vault's own row only its
    absence is recorded.
    """

    kind: Literal["vault_mint", "account_offset", "vault"]
    key: str
    row: dict[str, Any] | None


ADD = """
INSERT INTO applied (slot, signature, final)
SELECT slot, signature, final
FROM unnest(%(slot)s::BIGINT[], %(signature)s::TEXT[], %(final)s::BOOLEAN[])
    WITH ORDINALITY AS transaction (slot, signature, final, position)
ORDER BY position
ON CONFLICT (signature) DO NOTHING
"""

KEPT = query_for(
    AppliedTransaction,
    """
    SELECT {columns}
    FROM applied
    ORDER BY place
    """,
)

NOT_FINAL = query_for(
    AppliedTransaction,
    """
    SELECT {columns}
    FROM applied
    WHERE NOT final
      AND slot <= %(up_to_slot)s
      AND place > %(after)s
    ORDER BY place
    LIMIT %(limit)s
    """,
)

PRUNE = """
DELETE FROM applied
WHERE final
  AND place < (
      SELECT min(place)
      FROM (
          SELECT place
          FROM applied
          WHERE final
          ORDER BY place DESC
          LIMIT %(kept)s
      ) AS newest
  )
"""

# The first change of a row by a transaction counts. Final transactions need no undo.
SAVE_UNDO = """
INSERT INTO applied_before (place, kind, key, row)
SELECT applied.place, kind, key, row
FROM unnest(%(signature)s::TEXT[], %(kind)s::TEXT[], %(key)s::TEXT[], %(row)s::JSONB[])
    WITH ORDINALITY AS change (signature, kind, key, row, position)
JOIN applied USING (signature)
WHERE NOT applied.final
ORDER BY position
ON CONFLICT (place, kind, key) DO NOTHING
"""

UNDO_RECORDS = """
SELECT DISTINCT ON (kind, key) kind, key, row
FROM applied_before
WHERE place > %(place)s
ORDER BY kind, key, place
"""

ROLL_BACK = """
DELETE FROM applied
WHERE place > %(place)s
RETURNING signature
"""


async def add(conn: Connection, rows: Sequence[AppliedTransaction]) -> None:
    """Add these in their order; of those that are final already, only the last KEPT_FINAL."""
    final = [row for row in rows if row.final][-KEPT_FINAL:]
    added = [row for row in rows if not row.final or row in final]
    await conn.execute(ADD, by_column(added, ("slot", "signature", "final")))
    if final:
        await prune(conn)


async def kept(conn: Connection) -> list[AppliedTransaction]:
    """Return the transactions that are not final and the last final ones, in applied order."""
    return await fetch_all(conn, AppliedTransaction, KEPT, {})


async def not_final(
    conn: Connection, *, up_to_slot: int, after: int = -1, limit: int = 256
) -> list[AppliedTransaction]:
    """Return up to `limit` that are not final, in slots up to `up_to_slot`, after a place."""
    params = {"up_to_slot": up_to_slot, "after": after, "limit": limit}
    return await fetch_all(conn, AppliedTransaction, NOT_FINAL, params)


async def prune(conn: Connection) -> None:
    """Delete the final ones to which the cursor can no longer be rewound."""
    await conn.execute(PRUNE, {"kept": KEPT_FINAL})


async def save_undo(conn: Connection, changes: Sequence[tuple[str, UndoRecord]]) -> None:
    """Save rows before transactions, given by signature, change them; in the order they do.

    Saves nothing for transactions that are final.
    """
    if changes:
        await conn.execute(
            SAVE_UNDO,
            {
                "signature": [signature for signature, _ in changes],
                "kind": [change.kind for _, change in changes],
                "key": [change.key for _, change in changes],
                "row": [None if each.row is None else Jsonb(each.row) for _, each in changes],
            },
        )


async def undo_records(conn: Connection, place: int) -> list[UndoRecord]:
    """Return the rows as they were before the transactions after `place`."""
    return await fetch_all(conn, UndoRecord, UNDO_RECORDS, {"place": place})


async def roll_back(conn: Connection, place: int) -> list[str]:
    """Delete the transactions after `place` with their undo records; return their signatures."""
    return await fetch_column(conn, ROLL_BACK, {"place": place})
