"""Pace of all senders of a process, which share its event loop with the indexer."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

MESSAGES_PER_SECOND = 1_000.0
BURST = 64
"""Messages that may begin together: a page. Others wait for the event loop meanwhile."""


@dataclass(slots=True, eq=False)
class SendPace:
    """A token bucket, in which senders take turns: a backlog leaves others their share."""

    rate: float = MESSAGES_PER_SECOND
    _next: float = field(default=-math.inf, init=False)
    _turn: trio.Lock = field(default_factory=trio.Lock, init=False)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until this sender may read messages. It takes what it has read before the end."""
        async with self._turn:
            await trio.sleep_until(self._next)
            yield

    def take(self, messages: int) -> None:
        """Account for messages that are to be sent."""
        full = trio.current_time() - BURST / self.rate
        self._next = max(self._next, full) + messages / self.rate
