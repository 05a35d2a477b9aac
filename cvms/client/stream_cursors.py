"""The cursor of each topic of a stream: what to subscribe to, and which frames are new.

Plain state, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from cvms.client.errors import ClientError, SubscriptionRefused

# Only the newest message of these topics matters: their `seq` may have gaps.
CONFLATED = frozenset({"vault_balance_update", "tvl_update", "analytics_update", "operations"})
# A subscription refused with one of these codes may succeed on the next connection.
TRANSIENT_CODES = frozenset({"database_unavailable", "overloaded", "rate_limited"})

Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to subscribe to, for one owner or for all. `since` is the `seq` to resume after.

    `token` is an administrator's, for the topics that need one.
    """

    name: str
    owner: str | None = None
    since: int | None = None
    token: str | None = field(default=None, repr=False)


class Event(msgspec.Struct, frozen=True):
    """An event or, with type `retracted`, an earlier event that a fork has undone.

    `seq` grows by one with each event of a topic, over all owners.
    """

    type: Literal["event", "retracted"]
    topic: str
    seq: int
    slot: int
    commitment: str
    data: dict[str, Any]
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state of a topic at `seq`. With `reset`, earlier events were lost."""

    topic: str
    owner: str | None
    seq: int
    data: Any
    reset: bool


StreamMessage = Event | Snapshot


class StreamDesynchronized(Exception):
    """A frame does not follow the last one. Subscribe again on a new connection."""


class StreamCursors:
    """The topics of a stream, and the last `seq` delivered of each."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self._topics = {(topic.name, topic.owner): topic for topic in topics}
        if not self._topics:
            raise ValueError("name a topic to subscribe to")
        for name, owner in self._topics:
            if owner is not None and (name, None) in self._topics:
                raise ValueError(f"{name} of all owners already includes the events of {owner}")
        self._last_seq = {key: topic.since for key, topic in self._topics.items()}
        self._unanswered: list[Key] = []
        self._reset: set[Key] = set()

    def requests(self) -> list[str]:
        """Return the subscribe frames for a new connection. Replies come in the same order."""
        self._unanswered, self._reset = list(self._topics), set()
        return [_subscribe(topic, self._last_seq[key]) for key, topic in self._topics.items()]

    def read(self, text: str) -> StreamMessage | None:
        """Return the message in a frame of the service, or None.

        Raises SubscriptionRefused, StreamDesynchronized, and ClientError for an unknown frame.
        """
        frame = _decode(text, _ServerFrame)
        match frame.type:
            case "event" | "retracted":
                return self._event(_decode(text, Event))
            case "reset":
                self._reset.add(frame.key)
            case "subscribed" if frame.key in self._unanswered:
                return self._subscribed(frame)
            case "error":
                self._refused(frame)
        return None

    def _subscribed(self, frame: _ServerFrame) -> Snapshot | None:
        key, reset = frame.key, frame.key in self._reset
        self._unanswered.remove(key)
        if self._last_seq[key] is not None and not reset:
            return None  # the missed events follow
        self._last_seq[key] = frame.seq
        return Snapshot(*key, frame.seq, frame.snapshot, reset)

    def _refused(self, frame: _ServerFrame) -> None:
        if frame.code in TRANSIENT_CODES:
            raise StreamDesynchronized(frame.detail)
        topic = self._unanswered[0][0] if self._unanswered else None
        raise SubscriptionRefused(topic, frame.code, frame.detail)

    def _event(self, event: Event) -> Event | None:
        key: Key = (event.topic, None)
        if key not in self._topics:
            key = event.topic, event.data.get("owner")
        last = self._last_seq.get(key)
        if last is None or event.seq <= last:
            return None  # delivered before the connection was lost
        if key[1] is None and event.topic not in CONFLATED and event.seq != last + 1:
            raise StreamDesynchronized(f"{event.topic} jumps from {last} to {event.seq}")
        self._last_seq[key] = event.seq
        return event


class _ServerFrame(msgspec.Struct):
    """Any frame of the service."""

    type: str
    topic: str = ""
    owner: str | None = None
    seq: int = 0
    snapshot: Any = None
    code: str = ""
    detail: str = ""

    @property
    def key(self) -> Key:
        return self.topic, self.owner


def _subscribe(topic: Topic, seen: int | None) -> str:
    request = {
        "op": "subscribe",
        "topic": topic.name,
        "owner": topic.owner,
        "since": seen,
        "token": topic.token,
    }
    given = {name: value for name, value in request.items() if value is not None}
    return msgspec.json.encode(given).decode()


def _decode(text: str, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ClientError(f"cannot decode a frame of the service: {error}") from error
