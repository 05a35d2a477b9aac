"""The newest applied transactions: what a fork may take back, and where the cursor goes then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all

KEPT_FINAL = 2
"""How many final ones stay: the cursor names the one that it stands on and the one before it."""

ADD = """
INSERT INTO applied (slot, signature, final)
SELECT slot, signature, final
FROM unnest(%(slot)s::BIGINT[], %(signature)s::TEXT[], %(final)s::BOOLEAN[])
    WITH ORDINALITY AS transaction (slot, signature, final, position)
ORDER BY position
ON CONFLICT (signature) DO NOTHING
"""

KEPT = """
SELECT place, slot, signature, final
FROM applied
ORDER BY place
"""

NOT_FINAL = """
SELECT place, slot, signature, final
FROM applied
WHERE NOT final
  AND slot <= %(up_to_slot)s
  AND place > %(after)s
ORDER BY place
LIMIT %(limit)s
"""

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

# Of one transaction the first change of a row counts; of a final one none does.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedTransaction:
    """A transaction and where it was applied; `place` is the database's, left out when adding."""

    slot: int
    signature: str
    final: bool
    place: int = 0


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """A row (None: there was none) as it was before a transaction changed it.

    `key` is the vault of a vault_mint, the owner of the others. Of a vault's row itself it is only
    kept that there was none.
    """

    kind: Literal["vault_mint", "account_offset", "vault"]
    key: str
    row: dict[str, Any] | None


async def add(conn: Connection, rows: Sequence[AppliedTransaction]) -> None:
    """Note these, in their order. Of those that are final already only the last ones are kept."""
    final = [row for row in rows if row.final][-KEPT_FINAL:]
    noted = [row for row in rows if not row.final or row in final]
    await conn.execute(ADD, by_column(noted, ("slot", "signature", "final")))
    if final:
        await prune(conn)


async def kept(conn: Connection) -> list[AppliedTransaction]:
    """All that are not final and the last ones that are, in the order they were applied."""
    return await fetch_all(conn, AppliedTransaction, KEPT, {})


async def not_final(
    conn: Connection, *, up_to_slot: int, after: int = -1, limit: int = 256
) -> list[AppliedTransaction]:
    """Up to `limit` that are not final, in slots up to `up_to_slot`, that follow a place."""
    params = {"up_to_slot": up_to_slot, "after": after, "limit": limit}
    return await fetch_all(conn, AppliedTransaction, NOT_FINAL, params)


async def prune(conn: Connection) -> None:
    """Drop the final ones that nothing goes back to any more."""
    await conn.execute(PRUNE, {"kept": KEPT_FINAL})


async def save_undo(conn: Connection, changes: Sequence[tuple[str, UndoRecord]]) -> None:
    """Keep what is there before transactions (by signature) change it, in the order they do.

    Nothing is kept for those that are final.
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
    """What was there before the transactions that follow `place`."""
    return await fetch_all(conn, UndoRecord, UNDO_RECORDS, {"place": place})


async def roll_back(conn: Connection, place: int) -> list[str]:
    """Forget the transactions that follow `place`; their signatures."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(ROLL_BACK, {"place": place})
        return await cursor.fetchall()
