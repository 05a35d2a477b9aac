"""Endpoints and their messages as replies show them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from cvms.config.webhook_url import target_of
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.webhook_deliveries import DeliveryRow
from cvms.store.messaging.webhooks.endpoints import EndpointRow, EndpointStatus, State
from cvms.store.messaging.webhooks.event_messages import event_type, message_id
from cvms.store.messaging.webhooks.held_vaults import HeldVault

MessageState = Literal["pending", "failing", "delivered", "given_up"]


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook of an integrator. `owner`: whose vault's events it gets, null for all vaults.

    `url` is shown to the owner only. `failing_since`: since when nothing was accepted. `reason`
    says why it is paused or deactivated.
    """

    id: str
    owner: str | None
    host: str
    url: str | None
    topics: list[str]
    state: State
    reason: str | None
    failing_since: datetime | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime


class ListedEndpoint(Endpoint, frozen=True, kw_only=True):
    """An endpoint, and what it has not received.

    `behind`: positions in the log of all events that it has not passed. Some may be for it.
    `held_vaults`: vaults whose events wait, since one of each was not accepted.
    """

    behind: int
    held_vaults: int


class EndpointSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint, and the secret that signs its messages, which is shown only here."""

    endpoint: Endpoint
    secret: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to an endpoint. Its `id` is the header `webhook-id`.

    `failing`: it was not accepted, and is tried again. `pending`: it waits for its turn.
    """

    id: str
    type: str
    owner: str
    slot: int
    signature: str | None
    created_at: datetime
    state: MessageState
    tries: int | None
    last_error: str | None


def endpoint_view(row: EndpointRow, *, show_url: bool) -> Endpoint:
    """Return an endpoint as replies show it."""
    return msgspec.convert(_fields(row, show_url=show_url), Endpoint)


def listed_view(row: EndpointStatus, *, show_url: bool) -> ListedEndpoint:
    """Return an endpoint as lists show it."""
    fields = _fields(row, show_url=show_url)
    more = {"behind": row.behind, "held_vaults": row.held_vaults}
    return msgspec.convert(fields | more, ListedEndpoint)


def message_view(
    endpoint: EndpointRow,
    row: OutboxRow,
    held: dict[str, HeldVault],
    single: dict[UUID, DeliveryRow],
) -> Message:
    """Return a message with its state, given held vaults by owner and single deliveries by id."""
    identity = message_id(endpoint.id, row)
    owner = row.owner or ""
    hold, sent = held.get(owner), single.get(identity)
    state: MessageState = "delivered"
    tries, error = None, None
    if sent is not None:
        state = msgspec.convert(sent.state, MessageState)
        tries, error = sent.tries, sent.last_error
    elif hold is not None and row.position >= hold.position:
        first = row.position == hold.position and hold.tries > 0
        state = "failing" if first else "pending"
        tries, error = (hold.tries, hold.last_error) if first else (None, None)
    elif row.position > endpoint.position:
        state = "pending"
    return Message(
        id=str(identity),
        type=event_type(row),
        owner=owner,
        slot=row.slot,
        signature=row.signature,
        created_at=row.created_at,
        state=state,
        tries=tries,
        last_error=error,
    )


def _fields(row: EndpointRow, *, show_url: bool) -> dict[str, object]:
    names = ("id", "owner", "state", "reason", "failing_since", "last_error", "delivered_at")
    return {name: getattr(row, name) for name in (*names, "created_at")} | {
        "topics": list(row.topics),
        "host": target_of(row.url, private=True).host,
        "url": row.url if show_url else None,
    }
