"""Timelocks that the events of a vault schedule, and neither release nor cancel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cvms.store.postgres.driver.connection import Connection

# Within a slot, the history has the order of those that have a line.
EVENTS = """
SELECT event.name, event.data, event.block_time
FROM chain_events AS event
LEFT JOIN transactions AS line
  ON line.signature = event.signature
 AND line.instruction_index = event.instruction_index
 AND line.ordinal = event.ordinal
WHERE event.vault = %(vault)s
  AND event.name IN (
      'TimelockScheduledEvent', 'TimelocksReleasedEvent', 'TimelockCancelledEvent'
  )
ORDER BY event.slot, line.id
"""


@dataclass(frozen=True, slots=True)
class OpenTimelock:
    """An amount in the token's smallest unit, and the Unix time from which it may be released."""

    amount: int
    unlock_time: int


async def open_timelocks(conn: Connection, vault: str) -> list[OpenTimelock]:
    """Return the open timelocks of a vault, oldest first."""
    cursor = await conn.execute(EVENTS, {"vault": vault})
    return follow(await cursor.fetchall())


def follow(events: Iterable[tuple[str, dict[str, Any], datetime | None]]) -> list[OpenTimelock]:
    """Return what is open after these events: names, data and times of blocks."""
    timelocks: list[OpenTimelock] = []
    for name, data, block_time in events:
        if name == "TimelockScheduledEvent":
            timelocks.append(OpenTimelock(data["amount"], data["unlock_time"]))
        elif name == "TimelockCancelledEvent":
            _cancel(timelocks, data, block_time)
        elif block_time is not None:  # a release returns everything that is due at its time
            now = block_time.timestamp()
            timelocks = [each for each in timelocks if each.unlock_time > now]
    return timelocks


def _cancel(
    timelocks: list[OpenTimelock], data: dict[str, Any], block_time: datetime | None
) -> None:
    cancelled = OpenTimelock(data["amount"], data["unlock_time"])
    if cancelled not in timelocks:
        return
    place = timelocks.index(cancelled)
    timelocks.pop(place)
    if block_time is None or data["new_unlock_time"] > block_time.timestamp():
        timelocks.insert(place, OpenTimelock(data["amount"], data["new_unlock_time"]))
