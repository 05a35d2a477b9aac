"""Routes by which operators silence an alert for a while, and end that."""

from __future__ import annotations

from typing import Annotated

import msgspec

from cvms.errors import Conflict, NotFound
from cvms.http.admin.alert_routes import alert_number, alert_reply
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Reason
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.framework.schemas import Alert
from cvms.store.alerts import lifecycle
from cvms.store.alerts.alerts import Silence
from cvms.store.security import audit_log

MAX_MINUTES = 7 * 24 * 60

Minutes = Annotated[int, msgspec.Meta(ge=1, le=MAX_MINUTES)]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.OPERATOR, replies={200: Alert})


class AlertSilence(Body, frozen=True):
    minutes: Minutes
    reason: Reason


@ROUTES.post("/api/admin/alerts/<alert_id>/silence", refusals=(NotFound, Conflict))
async def silence_alert(
    deps: Dependencies, alert_id: str, body: AlertSilence, administrator: Administrator
) -> Reply:
    """Silence an alert.

    For so many minutes, up to a week, neither it nor the next alert of its subject sends a webhook.
    It stays visible. The silence ends earlier when the alert's severity rises. 409 for an alert
    that is resolved.
    """
    silence = Silence(minutes=body.minutes, by=administrator.actor, reason=body.reason)
    return await _change(deps, alert_id, administrator, silence)


@ROUTES.post("/api/admin/alerts/<alert_id>/unsilence", refusals=(NotFound,))
async def unsilence_alert(deps: Dependencies, alert_id: str, administrator: Administrator) -> Reply:
    """Remove an alert's silence.

    What it has not sent meanwhile is not sent later; the next change of the alert is.
    """
    return await _change(deps, alert_id, administrator, None)


async def _change(
    deps: Dependencies, alert_id: str, administrator: Administrator, silence: Silence | None
) -> Reply:
    number = alert_number(alert_id)
    terms = {} if silence is None else {"minutes": silence.minutes, "reason": silence.reason}
    async with deps.database.transaction() as conn:
        row = await lifecycle.silence(conn, number, silence)
        if row is None:
            raise NotFound(f"There is no alert {number}. GET /api/admin/alerts lists the alerts.")
        await audit_log.record(
            conn,
            actor=administrator.actor,
            action="alert_unsilence" if silence is None else "alert_silence",
            owner=row.owner,
            details={"alert": row.id, "kind": row.kind, "subject": row.subject, **terms},
        )
    return Reply(alert_reply(row))
