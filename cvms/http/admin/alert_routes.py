"""Routes of administrators that list and acknowledge alerts."""

from __future__ import annotations

import msgspec

from cvms.errors import NotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body, Limit, RowId
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.framework.schemas import Alert, AlertState, Severity
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.lifecycle import alert_webhook
from cvms.store.security import audit_log

ROUTES = RouteGroup("administration", auth=Auth.ADMIN)


class AlertsQuery(Body, frozen=True):
    state: AlertState | None = None
    severity: Severity | None = None
    cursor: RowId | None = None
    limit: Limit = 50


class Alerts(msgspec.Struct, frozen=True, kw_only=True):
    """A page of alerts, newest first. `next_cursor` is null on the last page."""

    alerts: list[Alert]
    next_cursor: int | None


@ROUTES.get("/api/admin/alerts", replies={200: Alerts}, role=Role.VIEWER)
async def list_alerts(
    deps: Dependencies, query: AlertsQuery, administrator: Administrator
) -> Reply:
    """List the alerts.

    Returns a page, newest first, of one `state` and one `severity` if given. Pass its `next_cursor`
    as `cursor` to get the page after it.
    """
    async with deps.database.connection() as conn:
        rows = await alerts.page(
            conn,
            limit=query.limit,
            state=query.state,
            severity=query.severity,
            before_id=query.cursor,
        )
    next_cursor = rows[-1].id if len(rows) == query.limit else None
    return Reply(Alerts(alerts=[alert_reply(row) for row in rows], next_cursor=next_cursor))


@ROUTES.post(
    "/api/admin/alerts/<alert_id>/acknowledge",
    replies={200: Alert},
    refusals=(NotFound,),
    role=Role.OPERATOR,
)
async def acknowledge_alert(
    deps: Dependencies, alert_id: str, administrator: Administrator
) -> Reply:
    """Acknowledge an alert.

    Records that the administrator is handling it. An alert that only a person can resolve is
    resolved by this. Only the first acknowledgement is recorded; repeating it changes nothing.
    """
    by, number = administrator.actor, alert_number(alert_id)
    async with deps.database.transaction() as conn:
        row = await lifecycle.acknowledge(
            conn, number, by=by, hook=alert_webhook(deps.config.alerts.webhook_minimum)
        )
        if row is None:
            raise NotFound(f"There is no alert {number}. GET /api/admin/alerts lists the alerts.")
        await audit_log.record(
            conn,
            actor=by,
            action="alert_acknowledge",
            owner=row.owner,
            details={"alert": row.id, "kind": row.kind, "subject": row.subject},
        )
    return Reply(alert_reply(row))


def alert_number(text: str) -> int:
    """Return the number of an alert in a path. Raises NotFound if it is not a number."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_AMOUNT))):
        raise NotFound("The path must contain the number of an alert.")
    return min(int(text), MAX_AMOUNT)


def alert_reply(row: alerts.AlertRow) -> Alert:
    """Return an alert as administrators see it."""
    return msgspec.convert(lifecycle.shown(row), Alert)
