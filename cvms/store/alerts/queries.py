"""Queries of the alert monitor: rows added since its last run, and conditions that hold now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cvms.store.alerts import foreign_changes
from cvms.store.alerts.foreign_changes import ForeignTransfers
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_column, fetch_value
from cvms.store.vaults.history import Kind

Source = Literal["transactions", "movements", "reconciliation_logs"]

POSITION = """
SELECT position
FROM alert_positions
WHERE source = %(source)s
FOR UPDATE
"""

MOVE = """
UPDATE alert_positions
SET position = %(position)s
WHERE source = %(source)s
"""

# Events are applied under the cursor's lock, so ids become visible in order.
HEAD_OF_TRANSACTIONS = """
SELECT coalesce(max(id), 0)
FROM transactions
"""

# Only the recent part of an owner's history matters: what is usual for this owner lately.
WITHDRAWALS = """
SELECT line.id, line.owner, line.vault, line.kind, line.amount, line.slot, line.block_time,
       line.signature, line.instruction_index, line.ordinal,
       coalesce(line.block_time < now() - INTERVAL '7 days', FALSE) AS old,
       line.kind = %(emergency)s AND NOT EXISTS (
           SELECT
           FROM chain_events AS event
           WHERE event.signature = line.signature
             AND event.instruction_index = line.instruction_index
             AND event.ordinal = line.ordinal
             AND event.data ->> 'authority' = line.owner
       ) AS emergency,
       ARRAY(
           SELECT earlier.amount
           FROM transactions AS earlier
           WHERE earlier.owner = line.owner
             AND earlier.kind = %(withdraw)s
             AND (earlier.slot, earlier.id) < (line.slot, line.id)
           ORDER BY earlier.slot DESC, earlier.id DESC
           LIMIT 50
       ) AS earlier,
       (
           SELECT count(*)
           FROM (
               SELECT near.block_time
               FROM transactions AS near
               WHERE near.owner = line.owner
                 AND near.kind = %(withdraw)s
                 AND (near.slot, near.id) <= (line.slot, line.id)
               ORDER BY near.slot DESC, near.id DESC
               LIMIT 1000
           ) AS near
           WHERE near.block_time > line.block_time - INTERVAL '1 hour'
       ) AS within_hour
FROM transactions AS line
WHERE line.id > %(after)s
  AND line.id <= %(head)s
  AND line.kind IN (%(withdraw)s, %(emergency)s)
ORDER BY line.id
LIMIT %(limit)s
"""

PAGE_OF_LINES = """
SELECT coalesce(max(id), 0), count(*)
FROM (
    SELECT id
    FROM transactions
    WHERE id > %(after)s
      AND id <= %(head)s
    ORDER BY id
    LIMIT %(limit)s
) AS page
"""

# The line `bound` places before a line tells whether there were more within the minute. Whoever
# goes on is reported once a minute: on a busy chain, each run would report the same owners again.
RAPID_MOVEMENTS = """
SELECT DISTINCT ON (line.owner)
       line.owner, line.vault, line.slot, line.block_time, line.signature,
       count(*) OVER (PARTITION BY line.owner) AS lines
FROM transactions AS line
CROSS JOIN LATERAL (
    SELECT before.block_time
    FROM transactions AS before
    WHERE before.owner = line.owner
      AND (before.slot, before.id) < (line.slot, line.id)
    ORDER BY before.slot DESC, before.id DESC
    OFFSET %(bound)s - 1
    LIMIT 1
) AS before
WHERE line.id > %(after)s
  AND line.id <= %(reached)s
  AND line.block_time >= now() - INTERVAL '7 days'
  AND before.block_time > line.block_time - INTERVAL '1 minute'
  AND NOT EXISTS (
      SELECT FROM alerts
      WHERE alerts.kind = 'rapid_movements'
        AND alerts.subject = line.owner
        AND alerts.resolved_at IS NULL
        AND alerts.last_seen_at > now() - INTERVAL '1 minute'
  )
ORDER BY line.owner, line.id DESC
"""

HEAD_OF_DIFFERENCES = """
SELECT coalesce(max(id), 0)
FROM reconciliation_logs
"""

# Writers are concurrent, so an id may become visible after a later one. This waits for them.
POSITION_OF_STABLE_DIFFERENCES = "LOCK TABLE reconciliation_logs IN SHARE MODE"

DIFFERENCES = """
SELECT id, vault, owner, field, expected, actual, difference, chain_slot, healed, cause
FROM reconciliation_logs
WHERE id > %(after)s
ORDER BY id
LIMIT %(limit)s
"""

# Vaults that never received a deposit are ignored. One with an alert counts again only if
# collateral has been locked in it since. Of all vaults, this and the next query read every open
# alert; of some owners, they read only theirs.
LOW_VAULTS = """
SELECT owner, vault, total, locked, slot
FROM vaults
WHERE NOT closed
  AND total < %(threshold)s
  AND total_deposited > 0
  AND NOT EXISTS (
      SELECT
      FROM alerts
      WHERE kind = 'low_balance'
        AND subject = vaults.owner
        AND resolved_at IS NULL
        AND (severity <> 'info' OR vaults.locked = 0)
  )
ORDER BY total, owner
LIMIT %(limit)s
"""

RECOVERED_VAULTS = """
SELECT alerts.id
FROM alerts
LEFT JOIN vaults ON vaults.owner = alerts.subject
WHERE alerts.kind = 'low_balance'
  AND alerts.resolved_at IS NULL
  AND (vaults.owner IS NULL OR vaults.closed OR vaults.total >= %(recovered)s)
"""

OF_OWNERS = "AND {owner} = ANY(%(owners)s)"
LOW_OF_OWNERS = LOW_VAULTS.replace("ORDER BY", OF_OWNERS.replace("{owner}", "owner") + "\nORDER BY")
RECOVERED_OF_OWNERS = RECOVERED_VAULTS + OF_OWNERS.replace("{owner}", "alerts.subject")

QUARANTINED = """
SELECT signature, kind, owner, amount, slot
FROM submissions
WHERE state = 'quarantined'
  AND NOT EXISTS (
      SELECT
      FROM alerts
      WHERE kind = 'submission_quarantined'
        AND subject = submissions.signature
        AND resolved_at IS NULL
  )
ORDER BY updated_at
LIMIT %(limit)s
"""

RELEASED = """
SELECT alerts.id
FROM alerts
LEFT JOIN submissions ON submissions.signature = alerts.subject
WHERE alerts.kind = 'submission_quarantined'
  AND alerts.resolved_at IS NULL
  AND submissions.state IS DISTINCT FROM 'quarantined'
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalRow:
    """A withdrawal and what is usual for its owner. An `emergency` was not made by the owner.

    `earlier` holds the amounts of earlier withdrawals, newest first. `within_hour` counts those of
    the hour before it, itself included. `old` means more than a week ago.
    """

    id: int
    owner: str
    vault: str
    kind: str
    amount: int
    slot: int
    block_time: datetime | None
    signature: str
    instruction_index: int
    ordinal: int
    old: bool
    emergency: bool
    earlier: list[int]
    within_hour: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MovementsRow:
    """The last of an owner's `lines` that were one too many within a minute."""

    owner: str
    vault: str
    slot: int
    block_time: datetime
    signature: str
    lines: int


@dataclass(frozen=True, slots=True)
class MovementsPage:
    """The owners with too many movements, or with transfers that are not this service's, among the
    lines that were examined.
    """

    examined: int
    rapid: list[MovementsRow]
    foreign: list[ForeignTransfers]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """A logged difference, see store/reconciliation/reconciliation_log.py."""

    id: int
    vault: str
    owner: str
    field: str
    expected: int | None
    actual: int | None
    difference: int
    chain_slot: int
    healed: bool
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LowVault:
    """A vault with a low balance."""

    owner: str
    vault: str
    total: int
    locked: int
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A transaction whose outcome cannot be known."""

    signature: str
    kind: str
    owner: str
    amount: int | None
    slot: int | None


async def withdrawals(conn: Connection, limit: int) -> list[WithdrawalRow]:
    """Return the withdrawals that were not examined yet, oldest first.

    They count as examined once the transaction commits. Other replicas wait for it.
    """
    after = await fetch_value(conn, POSITION, {"source": "transactions"})
    head = await fetch_value(conn, HEAD_OF_TRANSACTIONS)
    params = {
        "after": after,
        "head": head,
        "limit": limit,
        "withdraw": Kind.WITHDRAW,
        "emergency": Kind.EMERGENCY_WITHDRAW,
    }
    rows = await fetch_all(conn, WithdrawalRow, WITHDRAWALS, params)
    # A rollback may have removed the last ones.
    reached = rows[-1].id if len(rows) == limit else max(after, head)
    await _move(conn, "transactions", after, reached)
    return rows


async def movements(
    conn: Connection, bound: int, limit: int, *, began: int | None
) -> MovementsPage:
    """Return who made more than `bound` movements within a minute, in lines not examined yet.

    A bound of 0 is none. `began`: see foreign_changes. Lines count as examined as in `withdrawals`.
    """
    after = await fetch_value(conn, POSITION, {"source": "movements"})
    head = await fetch_value(conn, HEAD_OF_TRANSACTIONS)
    if head <= after:
        return MovementsPage(0, [], [])
    cursor = await conn.execute(PAGE_OF_LINES, {"after": after, "head": head, "limit": limit})
    row = await cursor.fetchone()
    assert row is not None
    last, examined = row
    reached = last if examined == limit else head
    params = {"bound": bound, "after": after, "reached": reached}
    rapid = await fetch_all(conn, MovementsRow, RAPID_MOVEMENTS, params) if bound else []
    foreign = (
        []
        if began is None
        else await foreign_changes.transfers(conn, began, after=after, reached=reached)
    )
    await _move(conn, "movements", after, reached)
    return MovementsPage(examined, rapid, foreign)


async def differences(conn: Connection, limit: int) -> list[DifferenceRow]:
    """Return the logged differences that were not examined yet, in the same way."""
    after = await fetch_value(conn, POSITION, {"source": "reconciliation_logs"})
    if await fetch_value(conn, HEAD_OF_DIFFERENCES) <= after:
        return []
    await conn.execute(POSITION_OF_STABLE_DIFFERENCES)
    rows = await fetch_all(conn, DifferenceRow, DIFFERENCES, {"after": after, "limit": limit})
    await _move(conn, "reconciliation_logs", after, rows[-1].id if rows else after)
    return rows


async def low_vaults(
    conn: Connection, threshold: int, limit: int, owners: Sequence[str] | None = None
) -> list[LowVault]:
    """Return vaults below `threshold` that need an alert, or a more severe one.

    With `owners`, only theirs.
    """
    params = {"threshold": threshold, "limit": limit, "owners": owners}
    query = LOW_VAULTS if owners is None else LOW_OF_OWNERS
    return await fetch_all(conn, LowVault, query, params)


async def recovered_vaults(
    conn: Connection, recovered: int, owners: Sequence[str] | None = None
) -> list[int]:
    """Return the alerts of vaults that hold `recovered` again, or are closed.

    With `owners`, only theirs.
    """
    query = RECOVERED_VAULTS if owners is None else RECOVERED_OF_OWNERS
    return await fetch_column(conn, query, {"recovered": recovered, "owners": owners})


async def quarantined(conn: Connection, limit: int) -> list[Quarantined]:
    """Return the quarantined transactions without an alert."""
    return await fetch_all(conn, Quarantined, QUARANTINED, {"limit": limit})


async def released(conn: Connection) -> list[int]:
    """Return the alerts of transactions that are no longer quarantined."""
    return await fetch_column(conn, RELEASED)


async def _move(conn: Connection, source: Source, after: int, position: int) -> None:
    if position != after:
        await conn.execute(MOVE, {"source": source, "position": position})
