"""Fan-out of outbox events to the WebSocket clients of this process."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from cvms.nursery.channels.websocket_frames import text_frame
from cvms.store.messaging.topics import Topic

if TYPE_CHECKING:
    from cvms.store.messaging.outbox import OutboxRow


Filter = tuple[str, str | None]
"""A topic, and an owner or None for all owners."""


@dataclass(frozen=True, slots=True)
class OutboxFrame:
    """One outbox row as subscribers receive it. `wire` is a complete WebSocket frame.

    `signers` are those of the proposal that it is about, if it is about one.
    """

    position: int
    topic: str
    seq: int
    owner: str | None
    wire: bytes
    signers: Sequence[str] = ()


def outbox_frame(row: OutboxRow) -> OutboxFrame:
    """Return the frame of an outbox row, serialized once for all receivers."""
    payload = msgspec.json.encode(
        {
            "type": row.type,
            "topic": row.topic,
            "seq": row.seq,
            "slot": row.slot,
            "signature": row.signature,
            "commitment": row.commitment,
            "data": row.data,
        }
    )
    return OutboxFrame(
        position=row.position,
        topic=row.topic,
        seq=row.seq,
        owner=row.owner,
        wire=text_frame(payload),
        signers=row.data.get("signers", ()) if row.topic == Topic.MULTISIG else (),
    )


class Subscriber(Protocol):
    """A client of the hub. It bounds its own queue, and its methods must not block."""

    def offer(self, frame: OutboxFrame) -> None:
        """Queue a frame that matches a filter. Frames arrive in order of position."""

    def flush(self) -> None:
        """Send what is queued. Called once after a batch of offers."""

    def drop_slow(self) -> None:
        """Disconnect: rows were missed, so the client must start over. Already unregistered."""


class Hub:
    """Distributes outbox rows to subscribers in order of position. Publishing never waits."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, set[Filter]] = {}
        # Dicts as ordered sets: frames go out in the order of subscription.
        self._by_filter: dict[Filter, dict[Subscriber, None]] = {}
        self.position: int | None = None
        """Position of the last published row; None until the broadcaster has started."""
        self._position_changed = trio.lowlevel.ParkingLot()

    def register(self, subscriber: Subscriber) -> None:
        """Add a subscriber without filters. `unregister` it when its client has gone."""
        self._subscribers[subscriber] = set()

    def publish(self, rows: Iterable[OutboxRow]) -> None:
        """Offer rows, ordered by position, to the subscribers of their topic and owner."""
        offered: dict[Subscriber, None] = {}
        for row in rows:
            self.position = row.position
            receivers = self._by_filter.get((row.topic, None), {})
            if row.owner is not None:
                receivers = receivers | self._by_filter.get((row.topic, row.owner), {})
            if not receivers:
                continue
            frame = outbox_frame(row)
            offered |= receivers
            for subscriber in list(receivers):
                subscriber.offer(frame)
        for subscriber in offered:
            subscriber.flush()
        self._position_changed.unpark_all()

    def has_subscribers(self, topic: str) -> bool:
        """Return whether anybody gets this topic of all owners."""
        return (topic, None) in self._by_filter

    def publish_state(self, frame: OutboxFrame) -> None:
        """Offer a frame that is no outbox row to the subscribers of its topic."""
        receivers = list(self._by_filter.get((frame.topic, None), {}))
        for subscriber in receivers:
            subscriber.offer(frame)
        for subscriber in receivers:
            subscriber.flush()

    async def wait_for_position(self, position: int) -> None:
        """Wait until rows up to `position` are published, or return at once before the first."""
        while self.position is not None and self.position < position:
            await self._position_changed.park()

    def reset(self, position: int) -> None:
        """Continue at `position` after rows were missed: drop every subscriber."""
        for subscriber in list(self._subscribers):
            self.unregister(subscriber)
            subscriber.drop_slow()
        self.position = position
        self._position_changed.unpark_all()

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribe(self, subscriber: Subscriber, topic: str, owner: str | None = None) -> None:
        """Offer the subscriber a topic from now on, of one owner or, with None, of all."""
        if subscriber in self._subscribers:
            self._subscribers[subscriber].add((topic, owner))
            self._by_filter.setdefault((topic, owner), {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, topic: str, owner: str | None = None) -> None:
        """Undo one `subscribe`. Do nothing if there is no such filter."""
        self._subscribers.get(subscriber, set()).discard((topic, owner))
        receivers = self._by_filter.get((topic, owner), {})
        receivers.pop(subscriber, None)
        if not receivers:
            self._by_filter.pop((topic, owner), None)

    def unregister(self, subscriber: Subscriber) -> None:
        """Remove a subscriber and its filters. Idempotent."""
        for topic, owner in set(self._subscribers.get(subscriber, ())):
            self.unsubscribe(subscriber, topic, owner)
        self._subscribers.pop(subscriber, None)
