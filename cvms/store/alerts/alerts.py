"""What operators should look at: one alert that is not resolved for each kind and subject.

All that is here changes rows only; `cvms.store.alerts.lifecycle` tells of it along with the change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_one

State = Literal["open", "acknowledged", "resolved"]

LOCK = """
SELECT position
FROM alert_positions
WHERE source = 'alerts'
FOR UPDATE
"""

# The highest severity stays while it is open. It counts as seen once more only after a while in
# which it was not.
RAISE = """
WITH before AS (
    SELECT severity, count
    FROM alerts
    WHERE kind = %(kind)s
      AND subject = %(subject)s
      AND resolved_at IS NULL
)
INSERT INTO alerts (kind, subject, owner, severity, summary, details)
VALUES (%(kind)s, %(subject)s, %(owner)s, %(severity)s, %(summary)s, %(details)s)
ON CONFLICT (kind, subject) WHERE resolved_at IS NULL DO UPDATE SET
    severity = CASE
        WHEN array_position(ARRAY['info', 'warning', 'critical'], EXCLUDED.severity)
           > array_position(ARRAY['info', 'warning', 'critical'], alerts.severity)
        THEN EXCLUDED.severity
        ELSE alerts.severity
    END,
    summary = EXCLUDED.summary,
    details = EXCLUDED.details,
    count = alerts.count + CASE
        WHEN alerts.last_seen_at <= clock_timestamp() - %(away)s::INTERVAL THEN 1
        ELSE 0
    END,
    last_seen_at = clock_timestamp()
RETURNING id, kind, subject, owner, severity, summary, details, count, first_seen_at, last_seen_at,
          acknowledged_at, acknowledged_by, resolved_at,
          (SELECT severity FROM before) AS severity_before,
          (SELECT count FROM before) AS count_before
"""

RESOLVE_STALE = """
UPDATE alerts
SET resolved_at = clock_timestamp()
FROM unnest(%(kind)s::TEXT[], %(quiet)s::INTERVAL[]) AS rule (kind, quiet)
WHERE alerts.kind = rule.kind
  AND resolved_at IS NULL
  AND last_seen_at < clock_timestamp() - rule.quiet
RETURNING id, alerts.kind, subject, owner, severity, summary, details, count, first_seen_at,
          last_seen_at, acknowledged_at, acknowledged_by, resolved_at
"""

RESOLVE = """
UPDATE alerts
SET resolved_at = clock_timestamp()
WHERE id = ANY(%(ids)s)
  AND resolved_at IS NULL
RETURNING id, kind, subject, owner, severity, summary, details, count, first_seen_at, last_seen_at,
          acknowledged_at, acknowledged_by, resolved_at
"""

ACKNOWLEDGE = """
UPDATE alerts
SET acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
    acknowledged_by = coalesce(acknowledged_by, %(by)s),
    resolved_at = coalesce(
        resolved_at, CASE WHEN kind = ANY(%(ends)s) THEN clock_timestamp() END
    )
WHERE id = %(id)s
RETURNING id, kind, subject, owner, severity, summary, details, count, first_seen_at, last_seen_at,
          acknowledged_at, acknowledged_by, resolved_at
"""

GET = """
SELECT id, kind, subject, owner, severity, summary, details, count, first_seen_at, last_seen_at,
       acknowledged_at, acknowledged_by, resolved_at
FROM alerts
WHERE id = %(id)s
FOR UPDATE
"""

PAGE = """
SELECT id, kind, subject, owner, severity, summary, details, count, first_seen_at, last_seen_at,
       acknowledged_at, acknowledged_by, resolved_at
FROM alerts
WHERE id < %(before_id)s
  AND (%(severity)s::TEXT IS NULL OR severity = %(severity)s)
  AND (%(owner)s::TEXT IS NULL OR owner = %(owner)s)
  AND CASE %(state)s::TEXT
      WHEN 'open' THEN resolved_at IS NULL AND acknowledged_at IS NULL
      WHEN 'acknowledged' THEN resolved_at IS NULL AND acknowledged_at IS NOT NULL
      WHEN 'resolved' THEN resolved_at IS NOT NULL
      WHEN 'unresolved' THEN resolved_at IS NULL
      ELSE TRUE
  END
ORDER BY id DESC
LIMIT %(limit)s
"""

OPEN = """
SELECT kind, severity, count(*)
FROM alerts
WHERE resolved_at IS NULL
GROUP BY kind, severity
"""

SUBJECTS = """
SELECT subject
FROM alerts
WHERE kind = %(kind)s
  AND resolved_at IS NULL
"""

KNOWN = """
SELECT subject
FROM alerts
WHERE kind = %(kind)s
  AND subject = ANY(%(subjects)s)
"""

PRUNE = """
DELETE FROM alerts
WHERE resolved_at < now() - %(age)s
"""

_NEWEST = 2**63 - 1


class Severity(StrEnum):
    """How soon somebody has to look: some day, today, now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Something that is so now, or has happened. `details`: JSON, no secrets.

    `away`: after how long out of sight it counts as having come again; none for what has happened.
    """

    kind: str
    subject: str
    severity: Severity
    summary: str
    details: Mapping[str, Any]
    owner: str | None = None
    slot: int = 0
    signature: str | None = None
    away: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert as stored."""

    id: int
    kind: str
    subject: str
    owner: str | None
    severity: str
    summary: str
    details: dict[str, Any]
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None

    @property
    def state(self) -> State:
        if self.resolved_at is not None:
            return "resolved"
        return "open" if self.acknowledged_at is None else "acknowledged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised(AlertRow):
    """An alert that was observed, and what it was before; None for a new one."""

    severity_before: str | None
    count_before: int | None


async def lock(conn: Connection) -> None:
    """Have this transaction raise and resolve alone until it ends: replicas take turns."""
    await conn.execute(LOCK)


async def observe(conn: Connection, seen: Observation) -> Raised:
    """Raise an alert, or note that the one there is still holds. Call `lock` before."""
    params = {
        "kind": seen.kind,
        "subject": seen.subject,
        "owner": seen.owner,
        "severity": seen.severity,
        "summary": seen.summary,
        "details": Jsonb(dict(seen.details)),
        "away": seen.away,
    }
    raised = await fetch_one(conn, Raised, RAISE, params)
    assert raised is not None
    return raised


async def resolve_stale(conn: Connection, quiet: Mapping[str, timedelta]) -> list[AlertRow]:
    """Resolve those of these kinds that were not seen for so long; returns them."""
    params = {"kind": list(quiet), "quiet": list(quiet.values())}
    return await fetch_all(conn, AlertRow, RESOLVE_STALE, params)


async def resolve(conn: Connection, ids: Sequence[int]) -> list[AlertRow]:
    """Resolve these; returns those that were not resolved before."""
    return await fetch_all(conn, AlertRow, RESOLVE, {"ids": list(ids)})


async def get(conn: Connection, alert: int) -> AlertRow | None:
    """The alert, nobody else's to change until the transaction ends."""
    return await fetch_one(conn, AlertRow, GET, {"id": alert})


async def acknowledge(
    conn: Connection, alert: int, *, by: str, ends: Sequence[str]
) -> AlertRow | None:
    """Note who looks after it, the first who says so; alerts of the kinds `ends` are over then."""
    return await fetch_one(conn, AlertRow, ACKNOWLEDGE, {"id": alert, "by": by, "ends": list(ends)})


async def page(
    conn: Connection,
    *,
    limit: int,
    state: State | Literal["unresolved"] | None = None,
    severity: str | None = None,
    owner: str | None = None,
    before_id: int | None = None,
) -> list[AlertRow]:
    """Up to `limit` alerts, newest first, older than `before_id`."""
    params = {
        "state": state,
        "severity": severity,
        "owner": owner,
        "before_id": _NEWEST if before_id is None else before_id,
        "limit": limit,
    }
    return await fetch_all(conn, AlertRow, PAGE, params)


async def counts(conn: Connection) -> dict[tuple[str, str], int]:
    """How many are not resolved, by kind and severity."""
    cursor = await conn.execute(OPEN)
    return {(kind, severity): count for kind, severity, count in await cursor.fetchall()}


async def subjects(conn: Connection, kind: str) -> set[str]:
    """What the unresolved alerts of this kind are about."""
    cursor = await conn.execute(SUBJECTS, {"kind": kind})
    return {subject for (subject,) in await cursor.fetchall()}


async def known(conn: Connection, kind: str, subjects: Sequence[str]) -> set[str]:
    """Those of the subjects that an alert of this kind was ever about, resolved or not."""
    cursor = await conn.execute(KNOWN, {"kind": kind, "subjects": list(subjects)})
    return {subject for (subject,) in await cursor.fetchall()}


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete what was resolved longer ago than `age`; returns how many."""
    cursor = await conn.execute(PRUNE, {"age": age})
    return cursor.rowcount
