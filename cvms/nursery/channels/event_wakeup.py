"""Wake-ups by events of the outbox."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cvms.nursery.channels.hub import Hub, OutboxFrame
from cvms.nursery.channels.wakeups import Wakeup


class EventWakeup(Wakeup):
    """A subscriber of the hub that is woken by any frame, and ignores its content."""

    def offer(self, frame: OutboxFrame) -> None:
        self.wake()

    def flush(self) -> None:
        return

    def drop_slow(self) -> None:
        self.wake()


@contextmanager
def woken_by(hub: Hub, topics: Sequence[str], owner: str | None = None) -> Iterator[EventWakeup]:
    """Yield a wake-up that fires for every event of these topics, of one owner or of all.

    Whichever replica has written it.
    """
    wake = EventWakeup()
    hub.register(wake)
    for topic in topics:
        hub.subscribe(wake, topic, owner)
    try:
        yield wake
    finally:
        hub.unregister(wake)
