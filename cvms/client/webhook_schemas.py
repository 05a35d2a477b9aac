"""Webhooks for events, and the messages that they get."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook for the events of a vault.

    `failing_since`: since when it has accepted nothing. `reason` says why it is paused or
    deactivated.
    """

    id: str
    owner: str | None
    host: str
    url: str | None
    topics: list[str]
    state: Literal["active", "paused", "deactivated"]
    reason: str | None
    failing_since: datetime | None
    last_error: str | None
    delivered_at: datetime | None
    created_at: datetime


class ListedWebhook(Webhook, frozen=True, kw_only=True):
    """A webhook, and what it has not received.

    `behind`: positions in the log of all events that it has not passed. `held_vaults`: vaults whose
    events wait, since one of each was not accepted.
    """

    behind: int
    held_vaults: int


class WebhookList(msgspec.Struct, frozen=True):
    """The webhooks of an owner, oldest first."""

    endpoints: list[ListedWebhook]


class WebhookSecret(msgspec.Struct, frozen=True):
    """A webhook, and the secret that signs its messages, which is shown only once."""

    endpoint: Webhook
    secret: str


class WebhookMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message to a webhook. `id` is its header `webhook-id`."""

    id: str
    type: str
    owner: str
    slot: int
    signature: str | None
    created_at: datetime
    state: Literal["pending", "failing", "delivered", "given_up"]
    tries: int | None
    last_error: str | None


class WebhookMessages(msgspec.Struct, frozen=True):
    """A page of messages, newest first. `next_cursor` is None on the last page."""

    messages: list[WebhookMessage]
    next_cursor: str | None


class QueuedMessage(msgspec.Struct, frozen=True):
    """A message that is sent as soon as possible. `webhook_id` is its header `webhook-id`."""

    webhook_id: str
    type: str
