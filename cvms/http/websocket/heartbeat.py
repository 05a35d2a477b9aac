"""Pings for all WebSockets from one task: a timer for each client would be a task for each."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import trio

Beat = Callable[[], float | None]
"""Does what is due; in how many seconds it is due again, None when it is over."""


@dataclass(slots=True, order=True)
class Timer:
    """A beat that is due at a time of trio's clock."""

    due: float
    number: int
    beat: Beat | None = field(compare=False)

    def cancel(self) -> None:
        """Not to be called any more; what it would call is let go at once."""
        self.beat = None


class Heartbeat:
    """Calls each client's beat when it is due."""

    def __init__(self) -> None:
        self._timers: list[Timer] = []
        self._numbers = count()
        self._sooner = trio.Event()

    def add(self, beat: Beat, *, after: float) -> Timer:
        """Have `beat` called for the first time in `after` seconds."""
        timer = Timer(trio.current_time() + after, next(self._numbers), beat)
        if not self._timers or timer < self._timers[0]:
            self._sooner.set()
        heapq.heappush(self._timers, timer)
        return timer

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beat()
            await self._wait()

    def _beat(self) -> None:
        now = trio.current_time()
        while self._timers and self._timers[0].due <= now:
            timer = heapq.heappop(self._timers)
            after = None if timer.beat is None else timer.beat()
            if after is not None:
                timer.due = now + after
                heapq.heappush(self._timers, timer)

    async def _wait(self) -> None:
        self._sooner = trio.Event()
        with trio.CancelScope() as scope:
            if self._timers:
                scope.deadline = self._timers[0].due
            await self._sooner.wait()
