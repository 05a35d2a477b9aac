"""How far each topic has been told: what to ask a new connection for, and what its frames add.

Plain state, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from cvms.client.errors import ClientError, SubscriptionRefused

# Only the newest counts of these: a `seq` may be passed over.
CONFLATED = frozenset({"vault_balance_update", "tvl_update", "analytics_update"})
# A subscription that is refused with these may be taken by the next connection.
PASSING = frozenset({"database_unavailable", "overloaded", "rate_limited"})

Key = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Topic:
    """What to hear of: a topic, of one owner or of all; `since`: a `seq` to go on from.

    `token` is an administrator's, for the topics that take one.
    """

    name: str
    owner: str | None = None
    since: int | None = None
    token: str | None = field(default=None, repr=False)


class Event(msgspec.Struct, frozen=True):
    """Something happened, or with type `retracted` a fork took it back: `data` is what was told.

    `seq` grows by one from event to event of a topic, over all owners.
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
    """Where a topic stands at `seq`. With `reset`, events before it were missed for good."""

    topic: str
    owner: str | None
    seq: int
    data: Any
    reset: bool


StreamMessage = Event | Snapshot


class StreamDesynchronized(Exception):
    """What came cannot follow what came before: ask again on another connection."""


class StreamCursors:
    """The topics of one stream, and the last `seq` that was told of each."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self._topics = {(each.name, each.owner): each for each in topics}
        if not self._topics:
            raise ValueError("name a topic to hear of")
        for name, owner in self._topics:
            if owner is not None and (name, None) in self._topics:
                raise ValueError(f"{name} of all owners has the events of {owner} already")
        self._seen: dict[Key, int | None] = {key: each.since for key, each in self._topics.items()}
        self._asked: list[Key] = []
        self._reset: set[Key] = set()

    def requests(self) -> list[str]:
        """The frames for a new connection, each of which is answered, in their order."""
        self._asked, self._reset = list(self._topics), set()
        return [_subscribe(topic, self._seen[key]) for key, topic in self._topics.items()]

    def read(self, text: str) -> StreamMessage | None:
        """What a frame of the service adds, None if nothing.

        Raises SubscriptionRefused, ConnectionSpoilt, and ClientError for what is not understood.
        """
        frame = _decode(text, _Frame)
        match frame.type:
            case "event" | "retracted":
                return self._event(_decode(text, Event))
            case "reset":
                self._reset.add(frame.key)
            case "subscribed" if frame.key in self._asked:
                return self._subscribed(frame)
            case "error":
                self._refused(frame)
        return None

    def _subscribed(self, frame: _Frame) -> Snapshot | None:
        key, reset = frame.key, frame.key in self._reset
        self._asked.remove(key)
        if self._seen[key] is not None and not reset:
            return None  # what was missed follows
        self._seen[key] = frame.seq
        return Snapshot(*key, frame.seq, frame.snapshot, reset)

    def _refused(self, frame: _Frame) -> None:
        if frame.code in PASSING:
            raise StreamDesynchronized(frame.detail)
        topic = self._asked[0][0] if self._asked else None
        raise SubscriptionRefused(topic, frame.code, frame.detail)

    def _event(self, event: Event) -> Event | None:
        key: Key = (event.topic, None)
        if key not in self._topics:
            key = event.topic, event.data.get("owner")
        last = self._seen.get(key)
        if last is None or event.seq <= last:
            return None  # told before the connection was lost
        if key[1] is None and event.topic not in CONFLATED and event.seq != last + 1:
            raise StreamDesynchronized(f"{event.topic} goes from {last} to {event.seq}")
        self._seen[key] = event.seq
        return event


class _Frame(msgspec.Struct):
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
        raise ClientError(f"a frame of the service is not understood: {error}") from error
