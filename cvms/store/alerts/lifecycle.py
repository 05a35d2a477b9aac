"""The one way to change alerts: whoever is to be told is told along, in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec

from cvms.store.alerts import alerts
from cvms.store.alerts.alerts import AlertRow, Observation, Raised, Severity
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.postgres.driver.connection import TrioConnection

TOPIC = "security_alert"
# Only a person can say that these are over: their end is their acknowledgement.
ENDED_BY_A_PERSON = ("books_differ", "submission_quarantined")


@dataclass(frozen=True, slots=True)
class AlertWebhook:
    """Operators have a webhook, for alerts from this severity on."""

    least: Severity = Severity.INFO

    def wants(self, severity: str) -> bool:
        """Whether an alert of this severity goes there."""
        order = list(Severity)
        return order.index(Severity(severity)) >= order.index(self.least)


def alert_webhook(minimum: str | None) -> AlertWebhook | None:
    """Return the webhook for alerts from a severity on, None without one."""
    return None if minimum is None else AlertWebhook(Severity(minimum))


async def observe(
    conn: TrioConnection[Any], seen: Sequence[Observation], *, hook: AlertWebhook | None
) -> int:
    """Raise or refresh alerts, and tell of those that are new, worse, or there once more.

    Call it inside a transaction that has `alerts.lock`, last: it appends to the outbox. Returns
    how many were told of. A webhook gets what is new or worse.
    """
    told = []
    for each in seen:
        raised = await alerts.observe(conn, each)
        if raised.count_before != raised.count or raised.severity_before != raised.severity:
            told.append(_message(raised, slot=each.slot, signature=each.signature))
            if hook is not None and _worse(raised) and hook.wants(raised.severity):
                await _deliver(conn, "alert.raised", raised)
    if told:
        await outbox.append(conn, told)
    return len(told)


async def resolve_stale(
    conn: TrioConnection[Any], quiet: Mapping[str, timedelta], *, hook: AlertWebhook | None
) -> int:
    """Resolve what was not seen for as long as its kind says, and tell so; returns how many."""
    return await _resolved(conn, await alerts.resolve_stale(conn, quiet), hook=hook)


async def resolve(
    conn: TrioConnection[Any], ids: Sequence[int], *, hook: AlertWebhook | None
) -> int:
    """Resolve these and tell so; returns how many were not resolved yet."""
    return await _resolved(conn, await alerts.resolve(conn, ids), hook=hook)


async def acknowledge(
    conn: TrioConnection[Any], alert: int, *, by: str, hook: AlertWebhook | None
) -> AlertRow | None:
    """Note who looks after it and tell so, once; None where there is no such alert."""
    await alerts.lock(conn)
    before = await alerts.get(conn, alert)
    after = await alerts.acknowledge(conn, alert, by=by, ends=ENDED_BY_A_PERSON)
    if after is not None and after != before:
        if before is not None and before.state != after.state == "resolved":
            await _resolved(conn, [after], hook=hook)
        else:
            await outbox.append(conn, [_message(after)])
    return after


async def _resolved(
    conn: TrioConnection[Any], rows: Sequence[AlertRow], *, hook: AlertWebhook | None
) -> int:
    for row in rows:
        if hook is not None and hook.wants(row.severity):
            await _deliver(conn, "alert.resolved", row)
    if rows:
        await outbox.append(conn, [_message(row) for row in rows])
    return len(rows)


def _worse(raised: Raised) -> bool:
    return raised.severity_before != raised.severity


async def _deliver(conn: TrioConnection[Any], event: str, row: AlertRow) -> None:
    when = row.resolved_at or row.last_seen_at
    body = {"type": event, "timestamp": when.isoformat(), "data": shown(row)}
    await webhook_deliveries.add_alert(conn, event=event, body=msgspec.json.encode(body).decode())


def _message(row: AlertRow, *, slot: int = 0, signature: str | None = None) -> OutboxMessage:
    return OutboxMessage(
        topic=TOPIC,
        owner=row.owner,
        slot=slot,
        signature=signature,
        commitment="confirmed",
        data=shown(row),
    )


def shown(row: AlertRow) -> dict[str, Any]:
    """An alert as JSON, the same for everybody who is told of it."""
    times = ("first_seen_at", "last_seen_at", "acknowledged_at", "resolved_at")
    plain = {
        name: getattr(row, name)
        for name in (
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
        )
    }
    return plain | {
        name: None if (at := getattr(row, name)) is None else at.isoformat() for name in times
    }
