"""Every event of the program, recorded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_all,
    fetch_column,
    fetch_value,
    json_array,
    query_for,
)


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
        """The primary key."""
        return self.signature, self.instruction_index, self.ordinal


RECORD = query_for(
    EventRow,
    """
    INSERT INTO chain_events ({columns})
    SELECT {columns}
    FROM ROWS FROM (unnest({arrays}), jsonb_array_elements(%(data)s)) AS event ({columns})
    ON CONFLICT (signature, instruction_index, ordinal) DO NOTHING
    RETURNING signature, instruction_index, ordinal
    """,
)

RECORDED = """
SELECT DISTINCT signature
FROM chain_events
WHERE signature = ANY(%(signatures)s)
"""

# A transfer names two vaults; `vault` is the paying one.
OF_VAULT = query_for(
    EventRow,
    """
    SELECT {columns}
    FROM chain_events
    WHERE vault = %(vault)s
       OR (signature = ANY(%(signatures)s) AND data ->> 'to_vault' = %(vault)s)
    """,
)

# An account starts without a delay. Of several in the last slot, the longest counts.
MIN_DELAY = """
SELECT coalesce(max((data ->> 'seconds')::BIGINT), 0)
FROM chain_events
WHERE vault = %(vault)s
  AND name = 'WithdrawMinDelaySetEvent'
  AND slot = (
      SELECT max(slot)
      FROM chain_events
      WHERE vault = %(vault)s
        AND name IN ('WithdrawMinDelaySetEvent', 'VaultClosedEvent')
  )
"""

REQUESTED_CHANGES = """
SELECT DISTINCT vault, data -> 'change'
FROM chain_events
WHERE vault = ANY(%(vaults)s)
  AND name = 'GuardChangeRequestedEvent'
"""

REMOVE = """
DELETE FROM chain_events AS event
USING unnest(
    %(signature)s::TEXT[], %(instruction_index)s::INTEGER[], %(ordinal)s::INTEGER[]
) AS removed (signature, instruction_index, ordinal)
WHERE event.signature = removed.signature
  AND event.instruction_index = removed.instruction_index
  AND event.ordinal = removed.ordinal
"""


async def recorded(conn: Connection, signatures: Sequence[str]) -> set[str]:
    """Return those transactions of which an event is recorded."""
    return set(await fetch_column(conn, RECORDED, {"signatures": list(signatures)}))


async def record(conn: Connection, rows: Sequence[EventRow]) -> list[EventRow]:
    """Store the events that are new and return those, in the order given.

    An event that is already recorded, or that comes twice in `rows`, is a no-op.
    """
    if not rows:
        return []
    values = by_column(rows, columns(EventRow, without={"data"}))
    cursor = await conn.execute(RECORD, {**values, "data": json_array(row.data for row in rows)})
    new = set(await cursor.fetchall())
    return [row for row in _first_of_each(rows) if row.identity in new]


async def of_vault(conn: Connection, vault: str, signatures: Sequence[str]) -> list[EventRow]:
    """Return the events of `vault`, unordered.

    Transfers into it are included only if they are among the transactions of `signatures`.
    """
    params = {"vault": vault, "signatures": list(signatures)}
    return await fetch_all(conn, EventRow, OF_VAULT, params)


async def min_delay(conn: Connection, vault: str) -> int:
    """Return the minimum delay of the vault's withdrawals, in seconds."""
    return int(await fetch_value(conn, MIN_DELAY, {"vault": vault}))


async def requested_changes(
    conn: Connection, vaults: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the changes of guards that were ever requested for these vaults, each with its vault.

    Addresses that are no vaults are ignored.
    """
    cursor = await conn.execute(REQUESTED_CHANGES, {"vaults": list(vaults)})
    return await cursor.fetchall()


async def remove(conn: Connection, rows: Sequence[EventRow]) -> None:
    """Delete these events: the chain does not have them, or has them otherwise."""
    names = ("signature", "instruction_index", "ordinal")
    await conn.execute(REMOVE, by_column(rows, names))


def _first_of_each(rows: Sequence[EventRow]) -> list[EventRow]:
    first: dict[tuple[str, int, int], EventRow] = {}
    for row in rows:
        first.setdefault(row.identity, row)
    return list(first.values())
