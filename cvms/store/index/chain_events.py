"""Every event of the program, recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, json_array

RECORD = """
INSERT INTO chain_events (
    signature, instruction_index, ordinal, slot, block_time, name, vault, owner, commitment, data
)
SELECT signature, instruction_index, ordinal, slot, block_time, name, vault, owner, commitment, data
FROM ROWS FROM (
    unnest(
        %(signature)s::TEXT[], %(instruction_index)s::INTEGER[], %(ordinal)s::INTEGER[],
        %(slot)s::BIGINT[], %(block_time)s::TIMESTAMPTZ[], %(name)s::TEXT[], %(vault)s::TEXT[],
        %(owner)s::TEXT[], %(commitment)s::TEXT[]
    ),
    jsonb_array_elements(%(data)s)
) AS event (
    signature, instruction_index, ordinal, slot, block_time, name, vault, owner, commitment, data
)
ON CONFLICT (signature, instruction_index, ordinal) DO NOTHING
RETURNING signature, instruction_index, ordinal
"""

# A transfer names two vaults, of which `vault` is the one that pays.
OF_VAULT = """
SELECT signature, instruction_index, ordinal, slot, block_time, name, vault, owner, commitment, data
FROM chain_events
WHERE vault = %(vault)s
   OR (signature = ANY(%(signatures)s) AND data ->> 'to_vault' = %(vault)s)
"""

REMOVE = """
DELETE FROM chain_events AS event
USING unnest(
    %(signature)s::TEXT[], %(instruction_index)s::INTEGER[], %(ordinal)s::INTEGER[]
) AS gone (signature, instruction_index, ordinal)
WHERE event.signature = gone.signature
  AND event.instruction_index = gone.instruction_index
  AND event.ordinal = gone.ordinal
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event. `ordinal` counts the program's events inside the top-level instruction."""

    signature: str
    instruction_index: int
    ordinal: int
    slot: int
    block_time: datetime | None
    name: str
    vault: str | None
    owner: str | None
    commitment: str
    data: dict[str, Any]

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.signature, self.instruction_index, self.ordinal


async def record(conn: Connection, rows: Sequence[EventRow]) -> list[EventRow]:
    """Store the events that are new and return those, in the order given.

    An event that is already recorded, or that comes twice in `rows`, is a no-op.
    """
    if not rows:
        return []
    values = by_column(rows, (name for name in EventRow.__slots__ if name != "data"))
    cursor = await conn.execute(RECORD, {**values, "data": json_array(row.data for row in rows)})
    new = set(await cursor.fetchall())
    return [row for row in _first_of_each(rows) if row.identity in new]


async def of_vault(conn: Connection, vault: str, signatures: Sequence[str]) -> list[EventRow]:
    """The events of `vault`, in no order; those it was paid by among these transactions only."""
    params = {"vault": vault, "signatures": list(signatures)}
    return await fetch_all(conn, EventRow, OF_VAULT, params)


async def remove(conn: Connection, rows: Sequence[EventRow]) -> None:
    """Take these events out: the chain does not have them, or has them otherwise."""
    names = ("signature", "instruction_index", "ordinal")
    await conn.execute(REMOVE, by_column(rows, names))


def _first_of_each(rows: Sequence[EventRow]) -> list[EventRow]:
    first: dict[tuple[str, int, int], EventRow] = {}
    for row in rows:
        first.setdefault(row.identity, row)
    return list(first.values())
