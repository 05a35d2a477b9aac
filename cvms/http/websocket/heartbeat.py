"""Timers of all WebSockets, run by one task: a timer per client would need a task per client."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import trio

Callback = Callable[[], float | None]
"""Returns after how many seconds to call it again, or None to stop."""


@dataclass(slots=True, order=True)
class Timer:
    """A callback that is due at a time of trio's clock."""

    due: float
    number: int
    callback: Callback | None = field(compare=False)

    def cancel(self) -> None:
        """Never call the callback again, and drop the reference to it."""
        self.callback = None


class HeartbeatScheduler:
    """Calls each client's callbacks when they are due."""

    def __init__(self) -> None:
        self._timers: list[Timer] = []
        self._numbers = count()
        self._earlier_added = trio.Event()

    def add(self, callback: Callback, *, after: float) -> Timer:
        """Call `callback` for the first time in `after` seconds."""
        timer = Timer(trio.current_time() + after, next(self._numbers), callback)
        if not self._timers or timer < self._timers[0]:
            self._earlier_added.set()
        heapq.heappush(self._timers, timer)
        return timer

    async def run(self) -> None:
        """Run the timers until cancelled."""
        while True:
            self._call_due()
            await self._wait()

    def _call_due(self) -> None:
        now = trio.current_time()
        while self._timers and self._timers[0].due <= now:
            timer = heapq.heappop(self._timers)
            after = None if timer.callback is None else timer.callback()
            if after is not None:
                timer.due = now + after
                heapq.heappush(self._timers, timer)

    async def _wait(self) -> None:
        self._earlier_added = trio.Event()
        with trio.CancelScope() as scope:
            if self._timers:
                scope.deadline = self._timers[0].due
            await self._earlier_added.wait()
