"""Routes of administrators that list webhook deliveries, send one again, and send a test."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import msgspec
from solders.pubkey import Pubkey

from cvms.errors import Conflict, NotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Limit, Uuid
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.store.messaging import webhook_deliveries
from cvms.store.messaging.webhook_deliveries import DeliveryRow
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log

TEST_EVENT = "test"

State = Literal["pending", "delivered", "given_up"]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN)


class DeliveriesQuery(Body, frozen=True):
    state: State | None = None
    recipient: Literal["operators"] | None = None
    signer: Pubkey | None = None
    endpoint: Uuid | None = None
    cursor: Uuid | None = None
    limit: Limit = 50


class TestMessage(Body, frozen=True):
    signer: Pubkey | None = None


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """A message to a webhook. Its `id` is the header `webhook-id`.

    `signer` and `endpoint` are null for a message to the operators. `tries` counts from
    `resent_at`, if it was sent again. `due_at` is when a pending message is tried next. The URL is
    not shown.
    """

    id: str
    signer: str | None
    endpoint: str | None
    event: str
    state: State
    tries: int
    last_error: str | None
    due_at: datetime
    created_at: datetime
    resent_at: datetime | None


class Deliveries(msgspec.Struct, frozen=True, kw_only=True):
    """A page of deliveries, newest first. `next_cursor` is null on the last page."""

    deliveries: list[Delivery]
    next_cursor: str | None


@ROUTES.get("/api/admin/deliveries", replies={200: Deliveries}, role=Role.VIEWER)
async def list_deliveries(
    deps: Dependencies, query: DeliveriesQuery, administrator: Administrator
) -> Reply:
    """List the webhook deliveries.

    Returns a page, newest first, of one `state`, of the recipient `operators`, of one `signer`,
    or of one `endpoint` if given. Pass its `next_cursor` as `cursor` to get the page after it.
    Deliveries are kept for 30 days.
    """
    async with deps.database.connection() as conn:
        rows = await webhook_deliveries.page(
            conn,
            limit=query.limit,
            state=query.state,
            operators=query.recipient == "operators",
            signer=None if query.signer is None else str(query.signer),
            endpoint=query.endpoint,
            before=None if query.cursor is None else UUID(query.cursor),
        )
    next_cursor = str(rows[-1].id) if len(rows) == query.limit else None
    return Reply(Deliveries(deliveries=[_reply(row) for row in rows], next_cursor=next_cursor))


@ROUTES.post(
    "/api/admin/deliveries/<delivery_id>/resend",
    replies={202: Delivery},
    refusals=(NotFound,),
    role=Role.OPERATOR,
)
async def resend_delivery(
    deps: Dependencies, delivery_id: str, administrator: Administrator
) -> Reply:
    """Send a webhook delivery again.

    Whatever its state, the message is sent as soon as possible, with the same `webhook-id`, to the
    URL that its recipient has now. It is tried for a day as a new one.
    """
    async with deps.database.transaction() as conn:
        row = await webhook_deliveries.resend(conn, _id_in_path(delivery_id))
        if row is None:
            raise NotFound(
                f"There is no delivery {delivery_id}. GET /api/admin/deliveries lists them."
            )
        await _record(conn, administrator, action="delivery_resend", row=row)
    return Reply(_reply(row), 202)


@ROUTES.post(
    "/api/admin/deliveries/test",
    replies={202: Delivery},
    refusals=(NotFound, Conflict),
    role=Role.OPERATOR,
)
async def send_test_message(
    deps: Dependencies, body: TestMessage, administrator: Administrator
) -> Reply:
    """Send a test message to a webhook.

    The message has the type `test` and no data. It goes to the operators, or to the `signer` if
    given: 409 unless the operators' webhook is configured, 404 unless the signer has one.
    """
    signer = None if body.signer is None else str(body.signer)
    if signer is None and not deps.config.alerts.webhooks:
        raise Conflict("The operators have no webhook; see the setting ALERT_WEBHOOK_URL.")
    message = {"type": TEST_EVENT, "timestamp": datetime.now(UTC).isoformat(), "data": {}}
    text = msgspec.json.encode(message).decode()
    async with deps.database.transaction() as conn:
        row = await webhook_deliveries.add_one(conn, signer, event=TEST_EVENT, body=text)
        if row is None:
            raise NotFound(f"{signer} has no webhook; POST /api/vault/signer-contact sets one.")
        await _record(conn, administrator, action="delivery_test", row=row)
    return Reply(_reply(row), 202)


async def _record(
    conn: Connection, administrator: Administrator, *, action: str, row: DeliveryRow
) -> None:
    await audit_log.record(
        conn,
        actor=administrator.actor,
        action=action,
        owner=row.signer,
        details={"delivery": str(row.id), "event": row.event},
    )


def _id_in_path(text: str) -> UUID:
    """Return the id of a delivery in a path. Raises NotFound if it is not an id."""
    try:
        return UUID(msgspec.convert(text, Uuid))
    except msgspec.ValidationError:
        raise NotFound("The path must contain the id of a delivery.") from None


def _reply(row: DeliveryRow) -> Delivery:
    return msgspec.convert(asdict(row) | {"id": str(row.id)}, Delivery)
