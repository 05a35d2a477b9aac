"""Alerts for operators: at most one unresolved alert for each kind and subject.

This module only changes rows; `cvms.store.alerts.lifecycle` also sends the messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, LiteralString

from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    columns,
    fetch_all,
    fetch_column,
    fetch_exactly_one,
    fetch_one,
    query_for,
)
from cvms.store.postgres.text import storable, storable_json

State = Literal["open", "acknowledged", "resolved"]
Filter = State | Literal["unresolved"]


class Severity(StrEnum):
    """Urgency for an operator: some day, today, now."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A condition that holds now, or an event. `details` is JSON without secrets.

    A condition that was not observed for `away` counts as a new occurrence; 0 for events.
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
    silenced_until: datetime | None = None
    silenced_by: str | None = None
    silence_reason: str | None = None

    @property
    def state(self) -> State:
        if self.resolved_at is not None:
            return "resolved"
        return "open" if self.acknowledged_at is None else "acknowledged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised(AlertRow):
    """An observed alert and its former severity and count, None for a new alert."""

    severity_before: str | None
    count_before: int | None

    @property
    def rose(self) -> bool:
        """True if it was known, and is more severe now."""
        return self.severity_before not in {None, self.severity}


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """For how long an alert sends no webhook, who has decided so, and why."""

    minutes: int
    by: str
    reason: str


LOCK = """
SELECT position
FROM alert_positions
WHERE source = 'alerts'
FOR UPDATE
"""

# An unresolved alert keeps its highest severity. `count` grows only if it was away in between. A
# new one is silenced as the last one of its subject, unless it is more severe.
RAISE = query_for(
    AlertRow,
    """
    WITH before AS (
        SELECT severity, count
        FROM alerts
        WHERE kind = %(kind)s
          AND subject = %(subject)s
          AND resolved_at IS NULL
    ), last AS (
        SELECT severity, silenced_until, silenced_by, silence_reason
        FROM alerts
        WHERE kind = %(kind)s
          AND subject = %(subject)s
        ORDER BY id DESC
        LIMIT 1
    ), silence AS (
        SELECT silenced_until, silenced_by, silence_reason
        FROM last
        WHERE silenced_until > clock_timestamp()
          AND array_position(ARRAY['info', 'warning', 'critical'], severity)
           >= array_position(ARRAY['info', 'warning', 'critical'], %(severity)s)
    )
    INSERT INTO alerts (
        kind, subject, owner, severity, summary, details,
        silenced_until, silenced_by, silence_reason
    )
    VALUES (
        %(kind)s, %(subject)s, %(owner)s, %(severity)s, %(summary)s, %(details)s,
        (SELECT silenced_until FROM silence),
        (SELECT silenced_by FROM silence),
        (SELECT silence_reason FROM silence)
    )
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
    RETURNING {columns},
              (SELECT severity FROM before) AS severity_before,
              (SELECT count FROM before) AS count_before
    """,
)

RESOLVE_STALE = query_for(
    AlertRow,
    """
    UPDATE alerts
    SET resolved_at = clock_timestamp()
    FROM unnest(%(kind)s::TEXT[], %(quiet)s::INTERVAL[]) AS rule (kind, quiet)
    WHERE alerts.kind = rule.kind
      AND resolved_at IS NULL
      AND last_seen_at < clock_timestamp() - rule.quiet
    RETURNING {columns:alerts}
    """,
)

RESOLVE = query_for(
    AlertRow,
    """
    UPDATE alerts
    SET resolved_at = clock_timestamp()
    WHERE id = ANY(%(ids)s)
      AND resolved_at IS NULL
    RETURNING {columns}
    """,
)

ACKNOWLEDGE = query_for(
    AlertRow,
    """
    UPDATE alerts
    SET acknowledged_at = coalesce(acknowledged_at, clock_timestamp()),
        acknowledged_by = coalesce(acknowledged_by, %(by)s),
        resolved_at = coalesce(
            resolved_at, CASE WHEN kind = ANY(%(ends)s) THEN clock_timestamp() END
        )
    WHERE id = %(id)s
    RETURNING {columns}
    """,
)

SILENCE = query_for(
    AlertRow,
    """
    UPDATE alerts
    SET silenced_until = clock_timestamp() + make_interval(mins => %(minutes)s::INTEGER),
        silenced_by = %(by)s,
        silence_reason = %(reason)s
    WHERE id = %(id)s
    RETURNING {columns}
    """,
)

GET = query_for(
    AlertRow,
    """
    SELECT {columns}
    FROM alerts
    WHERE id = %(id)s
    FOR UPDATE
    """,
)

STATES: Mapping[Filter, LiteralString] = {
    "open": "resolved_at IS NULL AND acknowledged_at IS NULL",
    "acknowledged": "resolved_at IS NULL AND acknowledged_at IS NOT NULL",
    "resolved": "resolved_at IS NOT NULL",
    "unresolved": "resolved_at IS NULL",
}

# Only the conditions that are asked for, so that the plan uses the index of a filter.
PAGE = query_for(
    AlertRow,
    """
    SELECT {columns}
    FROM alerts
    WHERE id < %(before_id)s
      {{conditions}}
    ORDER BY id DESC
    LIMIT %(limit)s
    """,
)

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

UNRESOLVED_OF = """
SELECT id
FROM alerts
WHERE kind = %(kind)s
  AND subject = %(subject)s
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

MAX_ID = 2**63 - 1


async def lock(conn: Connection) -> None:
    """Keep other replicas from raising and resolving alerts until the transaction ends."""
    await conn.execute(LOCK)


async def observe(conn: Connection, seen: Observation) -> Raised:
    """Raise an alert, or refresh the unresolved one. Call `lock` before."""
    texts = {"summary": storable(seen.summary), "details": Jsonb(storable_json(seen.details))}
    params = {**asdict(seen), **texts}
    return await fetch_exactly_one(conn, Raised, RAISE, params)


async def resolve_stale(conn: Connection, quiet: Mapping[str, timedelta]) -> list[AlertRow]:
    """Resolve the alerts not observed for the time given for their kind; return them."""
    params = {"kind": list(quiet), "quiet": list(quiet.values())}
    return await fetch_all(conn, AlertRow, RESOLVE_STALE, params)


async def resolve(conn: Connection, ids: Sequence[int]) -> list[AlertRow]:
    """Resolve these alerts; return those that were not resolved before."""
    return await fetch_all(conn, AlertRow, RESOLVE, {"ids": list(ids)})


async def get(conn: Connection, alert: int) -> AlertRow | None:
    """Return the alert, locked until the transaction ends."""
    return await fetch_one(conn, AlertRow, GET, {"id": alert})


async def acknowledge(
    conn: Connection, alert: int, *, by: str, ends: Sequence[str]
) -> AlertRow | None:
    """Record who acknowledged the alert first, and resolve it if its kind is in `ends`."""
    return await fetch_one(conn, AlertRow, ACKNOWLEDGE, {"id": alert, "by": by, "ends": list(ends)})


async def silence(conn: Connection, alert: int, silence: Silence | None) -> AlertRow:
    """Silence the alert, which must exist, from now on; with None, end its silence."""
    given = asdict(silence) if silence else dict.fromkeys(columns(Silence))
    return await fetch_exactly_one(conn, AlertRow, SILENCE, given | {"id": alert})


async def page(
    conn: Connection,
    *,
    limit: int,
    state: Filter | None = None,
    severity: str | None = None,
    owner: str | None = None,
    before_id: int | None = None,
) -> list[AlertRow]:
    """Return up to `limit` alerts, newest first, older than `before_id`."""
    params = {
        "severity": severity,
        "owner": owner,
        "before_id": MAX_ID if before_id is None else before_id,
        "limit": limit,
    }
    return await fetch_all(conn, AlertRow, page_query(state, severity, owner), params)


def page_query(state: Filter | None, severity: str | None, owner: str | None) -> LiteralString:
    """Return the query of a page with these filters."""
    conditions: LiteralString = ""
    if severity is not None:
        conditions += "AND severity = %(severity)s "
    if owner is not None:
        conditions += "AND owner = %(owner)s "
    if state is not None:
        conditions += f"AND {STATES[state]}"
    return PAGE.replace("{conditions}", conditions)


async def counts(conn: Connection) -> dict[tuple[str, str], int]:
    """Count the unresolved alerts by kind and severity."""
    cursor = await conn.execute(OPEN)
    return {(kind, severity): count for kind, severity, count in await cursor.fetchall()}


async def subjects(conn: Connection, kind: str) -> set[str]:
    """Return the subjects of the unresolved alerts of this kind."""
    return set(await fetch_column(conn, SUBJECTS, {"kind": kind}))


async def unresolved_of(conn: Connection, kind: str, subject: str) -> list[int]:
    """Return the unresolved alert of this kind about the subject, as a list of at most one."""
    return await fetch_column(conn, UNRESOLVED_OF, {"kind": kind, "subject": subject})


async def known(conn: Connection, kind: str, subjects: Sequence[str]) -> set[str]:
    """Return which of the subjects have an alert of this kind, resolved or not."""
    return set(await fetch_column(conn, KNOWN, {"kind": kind, "subjects": list(subjects)}))


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the alerts resolved longer than `age` ago; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount
