"""The topic subscriptions of one WebSocket client, and the `seq` from which each is active.

The client subscribes at the hub before the database is read, and frames that the hub offers in the
meantime are held. The topic's newest `seq` and the snapshot come from one REPEATABLE READ
transaction; only frames above that `seq` are passed on. So no event is missing between the snapshot
and the first frame, and none is in both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from cvms.nursery.channels.hub import Filter, OutboxFrame

HELD_FRAMES = 256


class Overflow(Exception):
    """More frames arrived during a snapshot than are held for one client."""


class TopicSubscriptions:
    """The filters of one client, and the `seq` after which each passes frames."""

    def __init__(self) -> None:
        self._active_after: dict[Filter, float] = {}
        self._activating = 0
        self._held: list[OutboxFrame] = []

    def accepts(self, frame: OutboxFrame) -> bool:
        """Return whether to send a frame now.

        A frame that arrives during a snapshot is held for `release`. Raises Overflow.
        """
        if not self._activating:
            return self._matches(frame)
        if len(self._held) >= HELD_FRAMES:
            raise Overflow
        self._held.append(frame)
        return False

    def release(self) -> list[OutboxFrame]:
        """Return the held frames that match, once no snapshot is in progress."""
        if self._activating:
            return []
        held, self._held = self._held, []
        return [frame for frame in held if self._matches(frame)]

    def _matches(self, frame: OutboxFrame) -> bool:
        all_after = self._active_after.get((frame.topic, None), math.inf)
        own_after = self._active_after.get((frame.topic, frame.owner), math.inf)
        return frame.seq > min(all_after, own_after)

    @contextmanager
    def activating(self, topic: str, owner: str | None) -> Iterator[None]:
        """Hold frames while the block sends the snapshot; it must end with `activate_from`.

        If it does not, an earlier subscription to the same continues unchanged.
        """
        key: Filter = (topic, owner)
        before = self._active_after.get(key)
        self._active_after[key] = math.inf
        self._activating += 1
        try:
            yield
        finally:
            self._activating -= 1
            if self._active_after.get(key) == math.inf:
                self.remove(topic, owner)
                if before is not None:
                    self._active_after[key] = before

    def activate_from(self, topic: str, owner: str | None, seq: int) -> None:
        """Pass on frames after `seq`, up to which the client has been brought."""
        self._active_after[topic, owner] = seq

    def remove(self, topic: str, owner: str | None) -> None:
        """Remove a subscription."""
        self._active_after.pop((topic, owner), None)

    def __contains__(self, key: Filter) -> bool:
        return key in self._active_after

    def __len__(self) -> int:
        return len(self._active_after)
