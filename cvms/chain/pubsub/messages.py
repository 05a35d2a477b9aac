"""Messages of a PubSub connection: a node's answers and notifications.

A provider's gateway may add messages of its own, of any shape, and may give subscriptions any id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

SubscriptionId = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request. `subscription` is None when the node refuses the request.

    `request` is the request's id as text, None when the node does not say which it answers.
    """

    request: str | None
    subscription: SubscriptionId | None


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification of a subscription. `result` is the node's JSON."""

    method: str
    subscription: SubscriptionId
    result: Any


def read_message(message: str | bytes) -> Answer | Notification | None:
    """Return the answer or the notification; None for anything else."""
    try:
        read = msgspec.json.decode(message, type=_Message)
    except (msgspec.DecodeError, RecursionError):
        return None
    if read.method is not None and read.params is not None:
        return Notification(read.method, read.params.subscription, read.params.result)
    request = str(read.id) if _is_id(read.id) else None
    if read.error is not None:
        return Answer(request, None)
    if read.id is not None and read.method is None:
        return Answer(request, read.result if _is_id(read.result) else None)
    return None


class _Params(msgspec.Struct):
    subscription: SubscriptionId
    result: Any = None


class _Message(msgspec.Struct):
    id: Any = None
    result: Any = None
    error: Any = None
    method: str | None = None
    params: _Params | None = None


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int | float)
