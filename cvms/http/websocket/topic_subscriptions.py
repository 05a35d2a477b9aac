"""What one WebSocket client is subscribed to, and from which `seq` on.

The hub hears of a subscription before the database is read, and what it offers is held; the
topic's head and the snapshot come from one REPEATABLE READ transaction; then only events above that
head are passed on. So nothing lies between the snapshot and the first event, nothing is in both.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from contextlib import contextmanager

from cvms.nursery.channels.hub import Filter, OutboxFrame

HELD_FRAMES = 256

# Of these only the newest matters: a client that lags is not told what was so in between.
CONFLATED = frozenset({"vault_balance_update", "tvl_update", "analytics_update"})


class Overflow(Exception):
    """More events came while a snapshot was under way than are held for one client."""


class TopicSubscriptions:
    """The filters of one client: which events it gets, and from which `seq` on."""

    def __init__(self) -> None:
        self._from: dict[Filter, float] = {}
        self._starting = 0
        self._held: list[OutboxFrame] = []

    def accepts(self, frame: OutboxFrame) -> bool:
        """Whether the client gets a frame now. One that comes while a snapshot is under way is
        held for `release`. Raises Overflow.
        """
        if not self._starting:
            return self._wanted(frame)
        if len(self._held) >= HELD_FRAMES:
            raise Overflow
        self._held.append(frame)
        return False

    def release(self) -> list[OutboxFrame]:
        """What was held and the client gets, once no snapshot is under way."""
        if self._starting:
            return []
        held, self._held = self._held, []
        return [frame for frame in held if self._wanted(frame)]

    def _wanted(self, frame: OutboxFrame) -> bool:
        all_from = self._from.get((frame.topic, None), math.inf)
        return frame.seq > min(all_from, self._from.get((frame.topic, frame.owner), math.inf))

    @contextmanager
    def activating(self, topic: str, owner: str | None) -> Iterator[None]:
        """Hold events while the block sends what comes before them; it ends with `begin`.

        When it does not, a subscription that was there before goes on as it was.
        """
        key: Filter = (topic, owner)
        before = self._from.get(key)
        self._from[key] = math.inf
        self._starting += 1
        try:
            yield
        finally:
            self._starting -= 1
            if self._from.get(key) == math.inf:
                self.remove(topic, owner)
                if before is not None:
                    self._from[key] = before

    def activate_from(self, topic: str, owner: str | None, seq: int) -> None:
        """The client has been brought up to `seq`."""
        self._from[topic, owner] = seq

    def remove(self, topic: str, owner: str | None) -> None:
        """No event of this subscription is passed on any more."""
        self._from.pop((topic, owner), None)

    def of(self, topics: Container[str]) -> list[Filter]:
        """Those of these topics."""
        return [key for key in self._from if key[0] in topics]

    def __contains__(self, key: Filter) -> bool:
        return key in self._from

    def __len__(self) -> int:
        return len(self._from)
