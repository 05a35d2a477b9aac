"""Routes that register endpoints of integrators, list them, and change them."""

from __future__ import annotations

import base64
import secrets
from datetime import timedelta

import msgspec

from cvms.config.webhook_url import WebhookTarget, target_of
from cvms.errors import (
    Conflict,
    EncryptionDisabled,
    FieldProblem,
    InvalidRequest,
    NotFound,
    VaultNotFound,
)
from cvms.http.auth.credential import record_use
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.request import Body, EventTopics, Limit, OverlapSeconds, Uuid, WebhookUrl
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import SIGNED_REFUSALS
from cvms.http.webhooks.endpoint_requests import EndpointAction, EndpointRequest, endpoint_change
from cvms.http.webhooks.endpoint_view import (
    Endpoint,
    EndpointSecret,
    ListedEndpoint,
    endpoint_view,
    listed_view,
)
from cvms.store.messaging.webhooks import endpoint_secrets, endpoints, held_vaults
from cvms.store.messaging.webhooks.endpoints import State
from cvms.store.messaging.webhooks.event_messages import TOPICS
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import vaults

SECRET_BYTES = 32
MAX_FOR_ALL_VAULTS = 20
MAX_OF_OWNER = 5
MAX_OF_OWNERS = 1_000
"""Endpoints. Each costs the leader a task, and the database a query for each event it gets."""
MAX_SECRETS = 5
"""Secrets that sign at the same time."""

ROUTES = RouteGroup(
    "webhooks",
    auth=Auth.WALLET_OR_ADMIN,
    role=Role.ADMIN,
    refusals=(*SIGNED_REFUSALS, NotFound),
)


class Registration(EndpointRequest, frozen=True, kw_only=True):
    url: WebhookUrl
    topics: EventTopics | None = None


class Rotation(EndpointAction, frozen=True, kw_only=True):
    overlap_seconds: OverlapSeconds = 86_400


class EndpointsQuery(Body, frozen=True):
    state: State | None = None
    cursor: Uuid | None = None
    limit: Limit = 50


class OwnEndpoints(msgspec.Struct, frozen=True):
    """The endpoints of an owner, oldest first."""

    endpoints: list[ListedEndpoint]


class Endpoints(msgspec.Struct, frozen=True):
    """A page of endpoints in order of their ids. `next_cursor` is null on the last page."""

    endpoints: list[ListedEndpoint]
    next_cursor: str | None


def _target(deps: Dependencies, body: Registration) -> WebhookTarget:
    try:
        return target_of(body.url, private=deps.config.webhook_private_addresses)
    except ValueError as error:
        problem = FieldProblem("url", str(error))
        raise InvalidRequest(f"The webhook's URL is invalid: {error}.", [problem]) from None


async def _check_registration(deps: Dependencies, body: Registration) -> bool:
    """Raise InvalidRequest for what nobody needs to approve."""
    _topics(body)
    _target(deps, body)
    return True


@ROUTES.post(
    "/api/webhooks",
    replies={201: EndpointSecret},
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, EncryptionDisabled),
    sensitive=True,
    needs_approval="webhook_register",
    exposes=_check_registration,
    shows_secret=True,
)
async def register_endpoint(
    deps: Dependencies, body: Registration, administrator: Administrator | None
) -> Reply:
    """Register a webhook for events.

    An owner registers one for the events of the own vault; the signed text has the topics joined by
    commas, or `all` without any. An administrator registers one for all vaults, or for the `owner`
    if given. `url`
    must be https and lead to a public address. The reply has the secret that signs the messages as
    in the Standard Webhooks specification: store it, it is not shown again.
    """
    topics = _topics(body)
    requester = body.requester(administrator, "webhook_register")
    target = _target(deps, body)
    owner = None if body.owner is None else str(body.owner)
    secret = secrets.token_bytes(SECRET_BYTES)
    with counted(deps, "webhook_register"):
        await requester.check(deps)
        async with deps.database.transaction() as conn:
            await requester.consume(conn)
            await _require_room(conn, owner)
            row = await endpoints.add(
                conn, owner=owner, url=body.url, topics=topics, created_by=requester.actor
            )
            await endpoint_secrets.add(conn, deps.secret_box, row.id, secret)
            view = endpoint_view(row, show_url=True)
            reply = Reply(EndpointSecret(endpoint=view, secret=_shown(secret)), 201)
            await record_use(
                conn,
                requester,
                reply,
                action="webhook_register",
                owner=owner,
                details={"endpoint": row.id, "host": target.host, "topics": list(topics)},
            )
    return reply


@ROUTES.post("/api/webhooks/list", replies={200: OwnEndpoints}, auth=Auth.WALLET)
async def list_own_endpoints(deps: Dependencies, body: Signed) -> Reply:
    """List the webhooks for events of one owner."""
    signed = body.request("webhook_list")
    with counted(deps, "webhook_list"):
        await signed.check(deps)
        async with deps.database.transaction() as conn:
            await signed.consume(conn)
            rows = await endpoints.of_owner(conn, signed.actor)
    return Reply(OwnEndpoints([listed_view(row, show_url=True) for row in rows]))


@ROUTES.get(
    "/api/admin/webhooks",
    replies={200: Endpoints},
    refusals=(),
    auth=Auth.ADMIN,
    role=Role.VIEWER,
)
async def list_endpoints(
    deps: Dependencies, query: EndpointsQuery, administrator: Administrator
) -> Reply:
    """List the webhooks for events.

    Returns a page, of one `state` if given. Pass its `next_cursor` as `cursor` to get the page
    after it.
    """
    async with deps.database.connection() as conn:
        rows = await endpoints.page(
            conn, state=query.state, after=query.cursor or "", limit=query.limit
        )
    next_cursor = rows[-1].id if len(rows) == query.limit else None
    return Reply(Endpoints([listed_view(row, show_url=False) for row in rows], next_cursor))


@ROUTES.post(
    "/api/webhooks/rotate",
    replies={200: EndpointSecret},
    refusals=(*SIGNED_REFUSALS, NotFound, Conflict, EncryptionDisabled),
    sensitive=True,
    needs_approval="webhook_rotate",
    shows_secret=True,
)
async def rotate_secret(
    deps: Dependencies, body: Rotation, administrator: Administrator | None
) -> Reply:
    """Set a new secret for a webhook for events.

    For `overlap_seconds`, a day by default, messages have the signatures of the new and of the old
    secret.
    """
    secret, seconds = secrets.token_bytes(SECRET_BYTES), body.overlap_seconds
    async with endpoint_change(
        deps, body, administrator, "webhook_rotate", overlap_seconds=seconds
    ) as change:
        await endpoint_secrets.expire(change.conn, body.endpoint, timedelta(seconds=seconds))
        if await endpoint_secrets.count_valid(change.conn, body.endpoint) >= MAX_SECRETS:
            raise Conflict(
                f"{MAX_SECRETS} secrets sign already. Wait until one expires, or shorten the "
                "overlap."
            )
        await endpoint_secrets.add(change.conn, deps.secret_box, body.endpoint, secret)
        view = endpoint_view(change.endpoint, show_url=administrator is None)
        change.reply = reply = Reply(EndpointSecret(endpoint=view, secret=_shown(secret)))
    return reply


@ROUTES.post("/api/webhooks/activate", replies={200: Endpoint}, role=Role.OPERATOR)
async def activate_endpoint(
    deps: Dependencies, body: EndpointAction, administrator: Administrator | None
) -> Reply:
    """Enable a webhook for events that is paused or deactivated.

    It gets what it has missed, as far as that is kept: for a day. What waits is tried at once.
    """
    return await _set_state(deps, body, administrator, "active")


@ROUTES.post("/api/webhooks/deactivate", replies={200: Endpoint}, role=Role.OPERATOR)
async def deactivate_endpoint(
    deps: Dependencies, body: EndpointAction, administrator: Administrator | None
) -> Reply:
    """Disable a webhook for events.

    It gets nothing until it is activated.
    """
    return await _set_state(deps, body, administrator, "deactivated")


@ROUTES.post("/api/webhooks/delete", replies={200: Endpoint})
async def delete_endpoint(
    deps: Dependencies, body: EndpointAction, administrator: Administrator | None
) -> Reply:
    """Remove a webhook for events.

    Its secrets and messages are deleted.
    """
    async with endpoint_change(deps, body, administrator, "webhook_delete") as change:
        await endpoints.delete(change.conn, change.endpoint.id)
    return Reply(endpoint_view(change.endpoint, show_url=administrator is None))


async def _set_state(
    deps: Dependencies,
    body: EndpointAction,
    administrator: Administrator | None,
    state: State,
) -> Reply:
    action = "webhook_activate" if state == "active" else "webhook_deactivate"
    async with endpoint_change(deps, body, administrator, action) as change:
        row = await endpoints.set_state(change.conn, change.endpoint.id, state)
        await held_vaults.make_due(change.conn, change.endpoint.id)
    assert row is not None
    return Reply(endpoint_view(row, show_url=administrator is None))


async def _require_room(conn: Connection, owner: str | None) -> None:
    """Raise unless another endpoint of this owner, or of all vaults, may be added."""
    await endpoints.lock(conn)
    if owner is None:
        if await endpoints.count(conn, None) >= MAX_FOR_ALL_VAULTS:
            raise Conflict(f"There are {MAX_FOR_ALL_VAULTS} webhooks for all vaults already.")
        return
    if await vaults.get(conn, owner) is None:
        raise VaultNotFound(f"{owner} has no vault.")
    if await endpoints.count(conn, owner) >= MAX_OF_OWNER:
        raise Conflict(f"{owner} has {MAX_OF_OWNER} webhooks already; delete one.")
    if await endpoints.count_of_owners(conn) >= MAX_OF_OWNERS:
        raise Conflict("There is no room for more webhooks of owners.")


def _topics(body: Registration) -> list[str]:
    """Return the topics of a registration. Raises InvalidRequest if one is named twice."""
    if body.topics is None:
        return [str(topic) for topic in TOPICS]
    if len(set(body.topics)) != len(body.topics):
        problem = FieldProblem("topics", "expected each topic at most once")
        raise InvalidRequest("The webhook's topics are invalid.", [problem])
    return list(body.topics)


def _shown(secret: bytes) -> str:
    return "whsec_" + base64.b64encode(secret).decode()
