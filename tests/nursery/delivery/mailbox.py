"""A subscriber of the hub that stores its frames for a test."""

from __future__ import annotations

import trio

from cvms.nursery.channels.hub import Filter, Hub, OutboxFrame


class Mailbox:
    """A subscriber with the given filters."""

    def __init__(self, hub: Hub, *filters: Filter) -> None:
        self.frames: list[OutboxFrame] = []
        self.flushed = 0
        self.dropped = False
        self._flushed = trio.Event()
        hub.register(self)
        for topic, owner in filters:
            hub.subscribe(self, topic, owner)

    def offer(self, frame: OutboxFrame) -> None:
        self.frames.append(frame)

    def flush(self) -> None:
        self.flushed += 1
        self._flushed.set()

    def drop_slow(self) -> None:
        self.dropped = True

    async def take(self, count: int) -> list[tuple[int, str, int]]:
        """Wait for the next frames, and return the position, topic and seq of each."""
        with trio.fail_after(10):
            while len(self.frames) < count:
                self._flushed = trio.Event()
                await self._flushed.wait()
        taken, self.frames = self.frames[:count], self.frames[count:]
        return [(frame.position, frame.topic, frame.seq) for frame in taken]
