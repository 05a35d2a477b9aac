"""Rolls back whatever was applied after some transaction, as if it had never been applied.

Call it under the cursor's lock, in one transaction with what replaces the vaults' rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec import structs

from cvms.store.analytics import aggregates, event_counters
from cvms.store.index import applied_transactions, vault_mints
from cvms.store.index.applied_transactions import UndoRecord
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import columns, fetch_structs, query_for
from cvms.store.vaults import account_offsets
from cvms.store.vaults.history import HistoryRow


class RolledBackLine(HistoryRow, frozen=True, kw_only=True, array_like=True):
    """A deleted row of the history, with the data of its event.

    `counted_at` is the time at which it was counted in the sums.
    """

    data: dict[str, Any]
    counted_at: datetime | None

    @property
    def line(self) -> HistoryRow:
        """The row as it was in the history."""
        return HistoryRow(**{name: getattr(self, name) for name in columns(HistoryRow)})


# Newest first. A row without a time was counted in the hour of the newest one before it.
LINES = query_for(
    HistoryRow,
    """
    SELECT {columns:line}, event.data,
           coalesce(
               line.block_time,
               (
                   SELECT earlier.block_time
                   FROM transactions AS earlier
                   WHERE earlier.id < line.id
                     AND earlier.block_time IS NOT NULL
                   ORDER BY earlier.id DESC
                   LIMIT 1
               )
           ) AS counted_at
    FROM transactions AS line
    JOIN chain_events AS event
      ON event.signature = line.signature
     AND event.instruction_index = line.instruction_index
     AND event.ordinal = line.ordinal
    WHERE line.signature = ANY(%(signatures)s)
    ORDER BY line.id DESC
    """,
)

DROP_LINES = """
DELETE FROM transactions
WHERE signature = ANY(%(signatures)s)
"""

DROP_EVENTS = """
DELETE FROM chain_events
WHERE signature = ANY(%(signatures)s)
"""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The transactions, history rows (newest first) and number of events rolled back.

    `new_vaults` are the owners whose vault had no row before.
    """

    signatures: tuple[str, ...]
    lines: tuple[RolledBackLine, ...]
    events: int
    new_vaults: frozenset[str]


async def roll_back(conn: Connection, place: int) -> RolledBack:
    """Roll back everything applied after `place` (see `applied_transactions`).

    Leaves the rows of vaults and balance_history alone: those come from accounts, see
    `vault_writer`.
    """
    records = await applied_transactions.undo_records(conn, place)
    signatures = await applied_transactions.roll_back(conn, place)
    params = {"signatures": signatures}
    lines = await fetch_structs(conn, RolledBackLine, LINES, params)
    await conn.execute(DROP_LINES, params)
    events = (await conn.execute(DROP_EVENTS, params)).rowcount
    counted = [structs.replace(each.line, block_time=each.counted_at) for each in lines]
    await aggregates.uncount(conn, counted)
    for kind in sorted({each.kind for each in lines}):
        amounts = [each.amount for each in lines if each.kind == kind]
        await event_counters.subtract(conn, kind, len(amounts), sum(amounts))
    await _restore(conn, records)
    new = frozenset(each.key for each in records if each.kind == "vault")
    return RolledBack(tuple(signatures), tuple(lines), events, new)


async def _restore(conn: Connection, records: Sequence[UndoRecord]) -> None:
    mints = [each for each in records if each.kind == "vault_mint"]
    former = [msgspec.convert(each.row, VaultMint) for each in mints if each.row is not None]
    await vault_mints.put(conn, former)
    await vault_mints.drop(conn, [each.key for each in mints if each.row is None])
    for each in records:
        if each.kind == "account_offset":
            await account_offsets.restore(conn, each.key, each.row)
