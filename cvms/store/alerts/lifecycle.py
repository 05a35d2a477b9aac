"""Changes alerts, and adds the messages about a change in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec

from cvms.errors import Conflict
from cvms.store.alerts import alerts
from cvms.store.alerts.alerts import AlertRow, Observation, Raised, Severity, Silence
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.driver.connection import Connection

# Only a person can resolve these, by acknowledging them.
ENDED_BY_A_PERSON = (
    "books_differ",
    "governance_proposed",
    "governance_accepted",
)


@dataclass(frozen=True, slots=True)
class AlertWebhook:
    """The operators' webhook, for alerts of at least `min_severity`."""

    min_severity: Severity = Severity.INFO

    def wants(self, severity: str) -> bool:
        """Return whether an alert of this severity is sent there."""
        order = list(Severity)
        return order.index(Severity(severity)) >= order.index(self.min_severity)


def alert_webhook(minimum: str | None) -> AlertWebhook | None:
    """Return the webhook for alerts of at least this severity, None without one."""
    return None if minimum is None else AlertWebhook(Severity(minimum))


async def observe(
    conn: Connection, seen: Sequence[Observation], *, hook: AlertWebhook | None
) -> int:
    """Raise or refresh alerts; add messages about those that are new, worse or back again.

    Call it last in a transaction that holds `alerts.lock`: it appends to the outbox. Webhooks are
    sent only for alerts that are new or worse, or whose silence is over. Returns the number of
    messages.
    """
    messages = []
    for each in seen:
        raised = await alerts.observe(conn, each)
        heard_again = _silence_ends(raised)
        if heard_again:
            await alerts.silence(conn, raised.id, None)
            raised = replace(raised, silenced_until=None, silenced_by=None, silence_reason=None)
        if heard_again or raised.count_before != raised.count or _worse(raised):
            messages.append(_message(raised, slot=each.slot, signature=each.signature))
            if heard_again or _worse(raised):
                await _deliver(conn, "alert.raised", raised, hook=hook)
    if messages:
        await outbox.append(conn, messages)
    return len(messages)


async def resolve_stale(
    conn: Connection, quiet: Mapping[str, timedelta], *, hook: AlertWebhook | None
) -> int:
    """Resolve the alerts not observed for the time given for their kind; return how many."""
    return await _resolved(conn, await alerts.resolve_stale(conn, quiet), hook=hook)


async def resolve(conn: Connection, ids: Sequence[int], *, hook: AlertWebhook | None) -> int:
    """Resolve these alerts; return how many were not resolved yet."""
    return await _resolved(conn, await alerts.resolve(conn, ids), hook=hook)


async def acknowledge(
    conn: Connection, alert: int, *, by: str, hook: AlertWebhook | None
) -> AlertRow | None:
    """Record who acknowledged the alert first; return None if there is no such alert."""
    await alerts.lock(conn)
    before = await alerts.get(conn, alert)
    after = await alerts.acknowledge(conn, alert, by=by, ends=ENDED_BY_A_PERSON)
    if after is not None and after != before:
        if before is not None and before.state != after.state == "resolved":
            await _resolved(conn, [after], hook=hook)
        else:
            await outbox.append(conn, [_message(after)])
    return after


async def silence(conn: Connection, alert: int, silence: Silence | None) -> AlertRow | None:
    """Silence the alert; with None, end its silence. Return None if there is no such alert.

    Raises Conflict for a silence of an alert that is resolved.
    """
    await alerts.lock(conn)
    before = await alerts.get(conn, alert)
    if before is None:
        return None
    if silence is not None and before.resolved_at is not None:
        raise Conflict(f"Alert {alert} is resolved. Silence the unresolved one of its subject.")
    after = await alerts.silence(conn, alert, silence)
    if after != before:
        await outbox.append(conn, [_message(after)])
    return after


async def _resolved(
    conn: Connection, rows: Sequence[AlertRow], *, hook: AlertWebhook | None
) -> int:
    for row in rows:
        await _deliver(conn, "alert.resolved", row, hook=hook)
    if rows:
        await outbox.append(conn, [_message(row) for row in rows])
    return len(rows)


def _worse(raised: Raised) -> bool:
    return raised.severity_before != raised.severity


def _silence_ends(raised: Raised) -> bool:
    """Return whether an alert's silence is over, or ends since the alert is more severe now."""
    until = raised.silenced_until
    return until is not None and (raised.rose or until <= raised.last_seen_at)


async def _deliver(
    conn: Connection, event: str, row: AlertRow, *, hook: AlertWebhook | None
) -> None:
    """Add the message to the webhook, unless it is not wanted there or the alert is silenced."""
    when = row.resolved_at or row.last_seen_at
    silenced = row.silenced_until is not None and row.silenced_until > when
    if hook is None or silenced or not hook.wants(row.severity):
        return
    body = {"type": event, "timestamp": when.isoformat(), "data": shown(row)}
    await webhook_deliveries.add_alert(conn, event=event, body=msgspec.json.encode(body).decode())


def _message(row: AlertRow, *, slot: int = 0, signature: str | None = None) -> OutboxMessage:
    return OutboxMessage(
        topic=Topic.ALERT,
        owner=row.owner,
        slot=slot,
        signature=signature,
        commitment="confirmed",
        data=shown(row),
    )


def shown(row: AlertRow) -> dict[str, Any]:
    """Return an alert as JSON, the same for all who receive it."""
    times = ("first_seen_at", "last_seen_at", "acknowledged_at", "resolved_at", "silenced_until")
    names = (
        "id",
        "kind",
        "subject",
        "owner",
        "severity",
        "state",
        "summary",
        "details",
        "count",
        "acknowledged_by",
        "silenced_by",
        "silence_reason",
    )
    plain = {name: getattr(row, name) for name in names}
    return plain | {
        name: None if (at := getattr(row, name)) is None else at.isoformat() for name in times
    }
