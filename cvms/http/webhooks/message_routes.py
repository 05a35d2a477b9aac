"""Routes that list an endpoint's messages, send one again, and send a test."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from cvms.errors import Conflict, NotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Limit, Uuid
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import SIGNED_REFUSALS
from cvms.http.webhooks.endpoint_requests import EndpointAction, endpoint_change
from cvms.http.webhooks.endpoint_view import Message, message_view
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.webhook_deliveries import DeliveryRow
from cvms.store.messaging.webhooks import event_messages, held_vaults, single_deliveries
from cvms.store.messaging.webhooks.endpoints import EndpointRow
from cvms.store.messaging.webhooks.event_messages import event_message, message_id, position_of
from cvms.store.postgres.driver.connection import Connection

TEST_TYPE = "test"
MAX_PENDING = 20
"""Single messages that may wait for an endpoint."""
END = 2**63 - 1
"""A position after all others."""

ROUTES = RouteGroup(
    "webhooks",
    auth=Auth.WALLET_OR_ADMIN,
    role=Role.OPERATOR,
    refusals=(*SIGNED_REFUSALS, NotFound, Conflict),
)


class MessagesRequest(EndpointAction, frozen=True, kw_only=True):
    cursor: Uuid | None = None
    limit: Limit = 50


class ResendRequest(EndpointAction, frozen=True, kw_only=True):
    webhook_id: Uuid


class Messages(msgspec.Struct, frozen=True):
    """A page of messages, newest first. `next_cursor` is null on the last page."""

    messages: list[Message]
    next_cursor: str | None


class QueuedMessage(msgspec.Struct, frozen=True):
    """A message that is sent as soon as possible. `webhook_id` is its header `webhook-id`."""

    webhook_id: str
    type: str


@ROUTES.post(
    "/api/webhooks/messages",
    replies={200: Messages},
    refusals=(*SIGNED_REFUSALS, NotFound),
    role=Role.VIEWER,
)
async def list_messages(
    deps: Dependencies,
    body: MessagesRequest,
    administrator: Administrator | None,
) -> Reply:
    """List the messages of a webhook for events.

    Returns a page of the events of the last day since the registration, newest first. Pass its
    `next_cursor` as `cursor` to get the page after it. Without a cursor, it is empty in the signed
    text.
    """
    async with endpoint_change(deps, body, administrator, "webhook_messages", reads=True) as change:
        conn, endpoint = change.conn, change.endpoint
        rows = await event_messages.before(
            conn,
            END if body.cursor is None else position_of(UUID(body.cursor)),
            since=endpoint.created_at,
            owner=endpoint.owner,
            topics=endpoint.topics,
            limit=body.limit,
        )
        held = await held_vaults.among(conn, endpoint.id, [row.owner or "" for row in rows])
        single = await single_deliveries.among(conn, [message_id(endpoint.id, row) for row in rows])
    shown = [message_view(endpoint, row, held, single) for row in rows]
    return Reply(Messages(shown, shown[-1].id if len(shown) == body.limit else None))


@ROUTES.post("/api/webhooks/resend", replies={202: QueuedMessage})
async def resend_message(
    deps: Dependencies,
    body: ResendRequest,
    administrator: Administrator | None,
) -> Reply:
    """Send a message to a webhook for events again.

    Whatever its state, it is sent as soon as possible and without regard to the order of its
    vault's events, with the same `webhook-id`, and tried for a day. Events are kept for a day,
    messages that were given up for 30.
    """
    async with endpoint_change(
        deps,
        body,
        administrator,
        "webhook_resend",
        webhook_id=body.webhook_id,
    ) as change:
        await _require_room(change.conn, change.endpoint)
        sent = await _resend(change.conn, change.endpoint, UUID(body.webhook_id))
        if sent is None:
            raise NotFound(f"There is no message {body.webhook_id} of this endpoint any more.")
    return Reply(QueuedMessage(str(sent.id), sent.event), 202)


@ROUTES.post("/api/webhooks/test", replies={202: QueuedMessage})
async def send_test(
    deps: Dependencies,
    body: EndpointAction,
    administrator: Administrator | None,
) -> Reply:
    """Send a test message to a webhook for events.

    The message has the type `test` and no data. It is sent also while the webhook is paused, but
    not while it is deactivated.
    """
    message = {"type": TEST_TYPE, "timestamp": datetime.now(UTC).isoformat(), "data": {}}
    text = msgspec.json.encode(message).decode()
    async with endpoint_change(deps, body, administrator, "webhook_test") as change:
        await _require_room(change.conn, change.endpoint)
        sent = await single_deliveries.add(
            change.conn, uuid4(), endpoint=change.endpoint.id, event=TEST_TYPE, body=text
        )
    return Reply(QueuedMessage(str(sent.id), sent.event), 202)


async def _require_room(conn: Connection, endpoint: EndpointRow) -> None:
    if endpoint.state == "deactivated":
        raise Conflict("The endpoint is deactivated: activate it first.")
    if await single_deliveries.count_pending(conn, endpoint.id) >= MAX_PENDING:
        raise Conflict(f"{MAX_PENDING} messages to this endpoint wait already.")


async def _resend(conn: Connection, endpoint: EndpointRow, identity: UUID) -> DeliveryRow | None:
    """Queue a message again, from the outbox or from those given up; None if it is in neither."""
    row = await event_messages.at(conn, position_of(identity))
    if row is not None and _gets(endpoint, row) and message_id(endpoint.id, row) == identity:
        retracted = await event_messages.retracted_events(conn, [row])
        message = event_message(endpoint.id, row, retracted)
        return await single_deliveries.add(
            conn, identity, endpoint=endpoint.id, event=message.type, body=message.body
        )
    return await single_deliveries.resend(conn, identity, endpoint=endpoint.id)


def _gets(endpoint: EndpointRow, row: OutboxRow) -> bool:
    return row.topic in endpoint.topics and endpoint.owner in {None, row.owner}
