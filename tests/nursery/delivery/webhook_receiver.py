"""A subscriber that keeps what it is offered, for a test to take."""

from __future__ import annotations

import trio

from cvms.nursery.channels.hub import Filter, Hub, OutboxFrame


class Mailbox:
    """A client of the hub with these filters."""

    def __init__(self, hub: Hub, *filters: Filter) -> None:
        self.frames: list[OutboxFrame] = []
        self.flushed = 0
        self.was_cut = False
        self._news = trio.Event()
        hub.register(self)
        for topic, owner in filters:
            hub.subscribe(self, topic, owner)

    def offer(self, frame: OutboxFrame) -> None:
        self.frames.append(frame)

    def flush(self) -> None:
        self.flushed += 1
        self._news.set()

    def drop_slow(self) -> None:
        self.was_cut = True

    async def take(self, count: int) -> list[tuple[int, str, int]]:
        """Position, topic and seq of the next frames, within a deadline."""
        with trio.fail_after(10):
            while len(self.frames) < count:
                self._news = trio.Event()
                await self._news.wait()
        taken, self.frames = self.frames[:count], self.frames[count:]
        return [(frame.position, frame.topic, frame.seq) for frame in taken]
