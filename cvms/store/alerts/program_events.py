"""Queries of the alert monitor about governance, guards, exits and pauses.

Each event is its own subject, so an event without an alert is a new one, and an event that lands
again after a fork is not. The times are the database's, which is near the chain's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_column, fetch_one, query_for

ALERT_OF: Mapping[str, str] = {
    "GovernanceProposedEvent": "governance_proposed",
    "GovernanceAcceptedEvent": "governance_accepted",
    "TransferLimitsSetEvent": "transfer_limits_changed",
    "GuardChangeRequestedEvent": "guard_change_requested",
}
"""The kinds of the alerts that single events raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEvent:
    """An event of the program. Fields of `data` that were not determined are null."""

    signature: str
    instruction_index: int
    ordinal: int
    slot: int
    block_time: datetime | None
    name: str
    vault: str | None
    owner: str | None
    data: dict[str, Any]

    @property
    def subject(self) -> str:
        """The subject of its alert, which stays the same if it lands again after a fork."""
        return f"{self.signature}:{self.instruction_index}:{self.ordinal}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedExit:
    """An exit that was requested and has not expired; `exit_at` is in Unix seconds."""

    owner: str
    vault: str
    slot: int
    exit_at: int


NEW_EVENTS = query_for(
    ProgramEvent,
    """
    SELECT {columns:event}
    FROM chain_events AS event
    WHERE event.name IN (
              'GovernanceProposedEvent', 'GovernanceAcceptedEvent', 'TransferLimitsSetEvent'
          )
      AND event.block_time > now() - INTERVAL '7 days'
      AND NOT EXISTS (
          SELECT
          FROM alerts
          JOIN unnest(%(names)s::TEXT[], %(kinds)s::TEXT[]) AS alert_of (name, kind)
            ON alert_of.kind = alerts.kind
          WHERE alert_of.name = event.name
            AND alerts.subject
              = event.signature || ':' || event.instruction_index || ':' || event.ordinal
      )
    ORDER BY event.slot, event.signature, event.instruction_index, event.ordinal
    LIMIT %(limit)s
    """,
)

# A request waits for at most a year. There is one of a vault's requests of the same change at a
# time, so a later end is its end; of an end in the same slot, their numbers tell.
_OPEN_REQUESTS = """
SELECT DISTINCT ON (request.vault, request.data -> 'change')
       request.*,
       request.signature || ':' || request.instruction_index || ':' || request.ordinal AS subject
FROM chain_events AS request
CROSS JOIN LATERAL (
    SELECT count(*) FILTER (WHERE other.slot > request.slot AND other.name <> request.name)
               AS later_ends,
           count(*) FILTER (WHERE other.slot = request.slot AND other.name <> request.name)
               AS ends_in_slot,
           count(*) FILTER (WHERE other.name <> request.name) AS ends,
           count(*) FILTER (WHERE other.name = request.name) AS requests
    FROM chain_events AS other
    WHERE other.vault = request.vault
      AND other.name IN (
          'GuardChangeRequestedEvent', 'GuardChangeAppliedEvent', 'GuardChangeCancelledEvent'
      )
      AND other.data -> 'change' = request.data -> 'change'
) AS same
WHERE request.name = 'GuardChangeRequestedEvent'
  AND request.block_time > now() - INTERVAL '372 days'
  AND coalesce(to_timestamp((request.data ->> 'executable_at')::BIGINT), now())
    > now() - INTERVAL '7 days'
  AND same.later_ends = 0
  AND (same.ends_in_slot = 0 OR same.ends < same.requests)
ORDER BY request.vault, request.data -> 'change', request.slot DESC,
         request.signature, request.instruction_index DESC, request.ordinal DESC
"""

NEW_REQUESTS = query_for(
    ProgramEvent,
    """
    SELECT {columns}
    FROM ({{open}}) AS request
    WHERE NOT EXISTS (
        SELECT
        FROM alerts
        WHERE kind = 'guard_change_requested'
          AND alerts.subject = request.subject
    )
    ORDER BY slot
    LIMIT %(limit)s
    """,
).replace("{open}", _OPEN_REQUESTS)

ENDED_REQUESTS = """
SELECT id
FROM alerts
WHERE kind = 'guard_change_requested'
  AND resolved_at IS NULL
  AND subject NOT IN (SELECT subject FROM ({open}) AS request)
""".replace("{open}", _OPEN_REQUESTS)

NEW_EXITS = """
SELECT owner, vault, slot, (state ->> 'exit_at')::BIGINT AS exit_at
FROM vaults
WHERE NOT closed
  AND state ->> 'exit_at' <> '0'
  AND to_timestamp((state ->> 'exit_at')::BIGINT) > now() - INTERVAL '7 days'
  AND NOT EXISTS (
      SELECT
      FROM alerts
      WHERE kind = 'exit_requested'
        AND subject = vaults.owner
        AND resolved_at IS NULL
  )
ORDER BY owner
LIMIT %(limit)s
"""

ENDED_EXITS = """
SELECT alerts.id
FROM alerts
LEFT JOIN vaults
  ON vaults.owner = alerts.subject
 AND NOT vaults.closed
 AND vaults.state ->> 'exit_at' <> '0'
 AND to_timestamp((vaults.state ->> 'exit_at')::BIGINT) > now() - INTERVAL '7 days'
WHERE alerts.kind = 'exit_requested'
  AND alerts.resolved_at IS NULL
  AND vaults.owner IS NULL
"""

# Of several in the last slot, the longest counts.
PAUSE = query_for(
    ProgramEvent,
    """
    SELECT {columns}
    FROM (
        SELECT *
        FROM chain_events
        WHERE name = 'WithdrawalsPausedEvent'
        ORDER BY slot DESC
        FETCH FIRST 1 ROWS WITH TIES
    ) AS last
    WHERE to_timestamp((data ->> 'paused_until')::BIGINT) > now()
    ORDER BY (data ->> 'paused_until')::BIGINT DESC
    LIMIT 1
    """,
)


async def new_events(conn: Connection, limit: int) -> list[ProgramEvent]:
    """Return the events of the last week that raise an alert and have none, oldest first."""
    params = {"names": list(ALERT_OF), "kinds": list(ALERT_OF.values()), "limit": limit}
    return await fetch_all(conn, ProgramEvent, NEW_EVENTS, params)


async def new_guard_changes(conn: Connection, limit: int) -> list[ProgramEvent]:
    """Return the requested changes of guards without an alert that may still be applied."""
    return await fetch_all(conn, ProgramEvent, NEW_REQUESTS, {"limit": limit})


async def ended_guard_changes(conn: Connection) -> list[int]:
    """Return the alerts about changes that were applied or cancelled, or have expired."""
    return await fetch_column(conn, ENDED_REQUESTS)


async def new_exits(conn: Connection, limit: int) -> list[RequestedExit]:
    """Return the exits that have not expired and have no alert."""
    return await fetch_all(conn, RequestedExit, NEW_EXITS, {"limit": limit})


async def ended_exits(conn: Connection) -> list[int]:
    """Return the alerts about exits that have expired, or whose vault is closed."""
    return await fetch_column(conn, ENDED_EXITS)


async def running_pause(conn: Connection) -> ProgramEvent | None:
    """Return the event of the pause of withdrawals that is running, None without one."""
    return await fetch_one(conn, ProgramEvent, PAUSE, {})
