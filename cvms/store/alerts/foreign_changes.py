"""Changes on the chain that no transaction of this service has made.

What was indexed before the alerts first looked is taken as it was found: a new database has no
submissions of the time before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from cvms.store.alerts.program_events import ProgramEvent
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_value, query_for
from cvms.store.vaults.history import Kind

KIND_OF: Mapping[str, str] = {
    "AuthorizedProgramAddedEvent": "foreign_program_list",
    "AuthorizedProgramRemovedEvent": "foreign_program_list",
    "YieldProgramAddedEvent": "foreign_program_list",
    "YieldProgramRemovedEvent": "foreign_program_list",
    "FreezeFlagSetEvent": "foreign_freeze",
    "CpiEnforcedSetEvent": "foreign_protection",
    "RiskLevelSetEvent": "foreign_protection",
    "UpdateUsdtMintEvent": "foreign_mint",
}
"""The kinds of the alerts about single events. Transfers have `foreign_transfer`."""

# The first slot that was complete. Later ones have only what happened under this service's eyes.
BEGIN = """
INSERT INTO alert_positions (source, position)
VALUES ('foreign_changes', %(slot)s)
ON CONFLICT (source) DO NOTHING
"""

BEGAN = """
SELECT position
FROM alert_positions
WHERE source = 'foreign_changes'
"""

# A submission is stored before it is sent, so the index never has an event of one before that.
_NOT_OURS: LiteralString = """
  NOT EXISTS (SELECT FROM submissions WHERE submissions.signature = {line}.signature)
  AND NOT EXISTS (SELECT FROM submissions WHERE submissions.landed_signature = {line}.signature)
"""

# The names stand here too, or the planner does not see that the index has them.
NEW_CHANGES = query_for(
    ProgramEvent,
    """
    SELECT {columns:event}
    FROM chain_events AS event
    WHERE event.name IN (
              'AuthorizedProgramAddedEvent', 'AuthorizedProgramRemovedEvent',
              'YieldProgramAddedEvent', 'YieldProgramRemovedEvent', 'FreezeFlagSetEvent',
              'CpiEnforcedSetEvent', 'RiskLevelSetEvent', 'UpdateUsdtMintEvent'
          )
      AND event.slot > %(began)s
      AND event.block_time > now() - INTERVAL '7 days'
      AND {{not_ours}}
      AND NOT EXISTS (
          SELECT
          FROM alerts
          WHERE alerts.kind = ANY(%(kinds)s)
            AND alerts.subject
              = event.signature || ':' || event.instruction_index || ':' || event.ordinal
      )
    ORDER BY event.slot, event.signature, event.instruction_index, event.ordinal
    LIMIT %(limit)s
    """,
).replace("{not_ours}", _NOT_OURS.replace("{line}", "event"))

TRANSFERS = """
SELECT DISTINCT ON (line.owner)
       line.owner, line.vault, line.slot, line.block_time, line.signature,
       count(*) OVER (PARTITION BY line.owner) AS transfers,
       (sum(line.amount) OVER (PARTITION BY line.owner))::BIGINT AS amount
FROM transactions AS line
WHERE line.id > %(after)s
  AND line.id <= %(reached)s
  AND line.kind = %(kind)s
  AND line.slot > %(began)s
  AND line.block_time > now() - INTERVAL '7 days'
  AND {not_ours}
ORDER BY line.owner, line.id DESC
""".replace("{not_ours}", _NOT_OURS.replace("{line}", "line"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignTransfers:
    """The last of an owner's `transfers` to other vaults, and the `amount` of all of them."""

    owner: str
    vault: str
    slot: int
    block_time: datetime
    signature: str
    transfers: int
    amount: int


async def began(conn: Connection, indexed: int | None) -> int | None:
    """Return the slot after which changes count: `indexed` at the first call, None before that."""
    found: int | None = await fetch_value(conn, BEGAN)
    if found is None and indexed is not None:
        await conn.execute(BEGIN, {"slot": indexed})
        return indexed
    return found


async def new_changes(conn: Connection, began: int, limit: int) -> list[ProgramEvent]:
    """Return the changes of the last week that are not ours and have no alert, oldest first."""
    params = {"began": began, "kinds": [*{*KIND_OF.values()}], "limit": limit}
    return await fetch_all(conn, ProgramEvent, NEW_CHANGES, params)


async def transfers(
    conn: Connection, began: int, *, after: int, reached: int
) -> list[ForeignTransfers]:
    """Return who paid transfers that are not ours, among these lines of the history."""
    params = {"began": began, "after": after, "reached": reached, "kind": Kind.TRANSFER_OUT}
    return await fetch_all(conn, ForeignTransfers, TRANSFERS, params)
