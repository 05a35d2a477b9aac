"""Take back what was applied after some transaction, as if it had never been there.

Call it under the cursor's lock, in one transaction with what replaces the vaults' rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec

from cvms.store.analytics import aggregates, event_counters
from cvms.store.index import applied_transactions, vault_mints
from cvms.store.index.applied_transactions import UndoRecord
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all
from cvms.store.vaults import account_offsets
from cvms.store.vaults.history import HistoryRow

# Newest first. A line without a time was counted in the hour of the newest one before it.
LINES = """
SELECT line.id, line.owner, line.vault, line.kind, line.amount, line.balance_after, line.slot,
       line.block_time, line.signature, line.instruction_index, line.ordinal, line.commitment,
       event.data,
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
"""

DROP_LINES = """
DELETE FROM transactions
WHERE signature = ANY(%(signatures)s)
"""

DROP_EVENTS = """
DELETE FROM chain_events
WHERE signature = ANY(%(signatures)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBackLine:
    """A line of the history that is no more, with the data of its event."""

    id: int
    owner: str
    vault: str
    kind: str
    amount: int
    balance_after: int | None
    slot: int
    block_time: datetime | None
    signature: str
    instruction_index: int
    ordinal: int
    commitment: str
    data: dict[str, Any]
    counted_at: datetime | None

    @property
    def line(self) -> HistoryRow:
        return HistoryRow(**{name: getattr(self, name) for name in HistoryRow.__slots__})


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What is gone: the transactions, the lines (newest first), and how many events there were.

    `new_vaults`: the owners whose vault's row was not there before.
    """

    signatures: tuple[str, ...]
    lines: tuple[RolledBackLine, ...]
    events: int
    new_vaults: frozenset[str]


async def roll_back(conn: Connection, place: int) -> RolledBack:
    """Take back all that was applied after `place` (see `applied_transactions`), but vaults and
    points in balance_history: those come from accounts (see `vault_writer`).
    """
    before = await applied_transactions.undo_records(conn, place)
    signatures = await applied_transactions.roll_back(conn, place)
    params = {"signatures": signatures}
    lines = await fetch_all(conn, RolledBackLine, LINES, params)
    await conn.execute(DROP_LINES, params)
    events = (await conn.execute(DROP_EVENTS, params)).rowcount
    counted = [replace(each.line, block_time=each.counted_at) for each in lines]
    await aggregates.uncount(conn, counted)
    for kind in sorted({each.kind for each in lines}):
        amounts = [each.amount for each in lines if each.kind == kind]
        await event_counters.subtract(conn, kind, len(amounts), sum(amounts))
    await _restore(conn, before)
    new = frozenset(each.key for each in before if each.kind == "vault")
    return RolledBack(tuple(signatures), tuple(lines), events, new)


async def _restore(conn: Connection, before: Sequence[UndoRecord]) -> None:
    mints = [each for each in before if each.kind == "vault_mint"]
    held = [msgspec.convert(each.row, VaultMint) for each in mints if each.row is not None]
    await vault_mints.put(conn, held)
    await vault_mints.drop(conn, [each.key for each in mints if each.row is None])
    for each in before:
        if each.kind == "account_offset":
            await account_offsets.restore(conn, each.key, each.row)
