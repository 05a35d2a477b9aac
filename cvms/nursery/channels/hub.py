"""Fan-out of outbox events to the WebSocket clients of this process."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from cvms.nursery.channels.websocket_frames import text_frame

if TYPE_CHECKING:
    from cvms.store.messaging.outbox import OutboxRow


Filter = tuple[str, str | None]
"""A topic, of one owner or of all."""


@dataclass(frozen=True, slots=True)
class OutboxFrame:
    """One event as every subscriber gets it: where it stands, and the bytes to write as they are,
    a WebSocket message.
    """

    position: int
    topic: str
    seq: int
    owner: str | None
    wire: bytes


def outbox_frame(row: OutboxRow) -> OutboxFrame:
    """The frame of an outbox row, serialized once for all who receive it (see /ws in the API)."""
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
    return OutboxFrame(row.position, row.topic, row.seq, row.owner, text_frame(payload))


class Subscriber(Protocol):
    """One client of the hub. It bounds what it keeps, and never makes the hub wait."""

    def offer(self, frame: OutboxFrame) -> None:
        """Take a frame of one of its filters; frames come in order of position."""

    def flush(self) -> None:
        """Called once after some offers: the time to send."""

    def drop_slow(self) -> None:
        """Rows were missed: the client has to start over. It is forgotten already."""


class Hub:
    """Fans outbox rows out to subscribers, in order of position. Publishing never waits."""

    def __init__(self) -> None:
        self._subscribers: dict[Subscriber, set[Filter]] = {}
        # Dicts as ordered sets: fan-out order is registration order.
        self._by_filter: dict[Filter, dict[Subscriber, None]] = {}
        self.position: int | None = None
        """Position of the last published row; None before the broadcaster has started."""
        self._moved = trio.lowlevel.ParkingLot()

    def register(self, subscriber: Subscriber) -> None:
        """Let a subscriber in, without filters; `forget` it when its client is gone."""
        self._subscribers[subscriber] = set()

    def publish(self, rows: Iterable[OutboxRow]) -> None:
        """Hand rows to everyone subscribed to their topic (and owner); they come by position."""
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
        self._moved.unpark_all()

    async def reached(self, position: int) -> None:
        """Wait until what the outbox holds up to `position` is handed out, if anybody hands out."""
        while self.position is not None and self.position < position:
            await self._moved.park()

    def reset(self, position: int) -> None:
        """Go on from `position` after rows were missed: every subscriber has to start over."""
        for subscriber in list(self._subscribers):
            self.forget(subscriber)
            subscriber.drop_slow()
        self.position = position
        self._moved.unpark_all()

    def __len__(self) -> int:
        return len(self._subscribers)

    def subscribe(self, subscriber: Subscriber, topic: str, owner: str | None = None) -> None:
        """Offer it a topic from now on: of one owner, or of all when `owner` is None."""
        if subscriber in self._subscribers:
            self._subscribers[subscriber].add((topic, owner))
            self._by_filter.setdefault((topic, owner), {})[subscriber] = None

    def unsubscribe(self, subscriber: Subscriber, topic: str, owner: str | None = None) -> None:
        """Undo one `subscribe`; unknown filters are no-ops."""
        self._subscribers.get(subscriber, set()).discard((topic, owner))
        receivers = self._by_filter.get((topic, owner), {})
        receivers.pop(subscriber, None)
        if not receivers:
            self._by_filter.pop((topic, owner), None)

    def forget(self, subscriber: Subscriber) -> None:
        """Offer it nothing any more. Idempotent."""
        for topic, owner in self._subscribers.pop(subscriber, set()):
            receivers = self._by_filter[topic, owner]
            receivers.pop(subscriber, None)
            if not receivers:
                del self._by_filter[topic, owner]
