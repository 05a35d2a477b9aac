"""Timelocks that the history schedules and does not release."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all

# A release returns everything that is due at its time.
OPEN_TIMELOCKS = """
SELECT line.amount, (event.data ->> 'unlock_time')::BIGINT AS unlock_time
FROM transactions AS line
JOIN chain_events AS event
  ON event.signature = line.signature
 AND event.instruction_index = line.instruction_index
 AND event.ordinal = line.ordinal
WHERE line.owner = %(owner)s
  AND line.kind = 'timelock'
  AND NOT EXISTS (
      SELECT FROM transactions AS release
      WHERE release.owner = line.owner
        AND release.kind = 'timelock_release'
        AND release.id > line.id
        AND release.block_time >= to_timestamp((event.data ->> 'unlock_time')::BIGINT)
  )
ORDER BY line.id
"""


@dataclass(frozen=True, slots=True)
class OpenTimelock:
    """An amount in the token's smallest unit, and the Unix time from which it may be released."""

    amount: int
    unlock_time: int


async def open_timelocks(conn: Connection, owner: str) -> list[OpenTimelock]:
    """Return the open timelocks of an owner's vault, oldest first."""
    return await fetch_all(conn, OpenTimelock, OPEN_TIMELOCKS, {"owner": owner})
