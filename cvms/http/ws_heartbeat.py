"""Pings for all WebSockets from one task: a timer for each client would be a task for each."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import trio

Beat = Callable[[], float | None]
"""Does what is due; in how many seconds it is due again, None when the client is gone."""


class Heartbeat:
    """Calls each client's beat when it is due."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Beat]] = []
        self._numbers = count()
        self._sooner = trio.Event()

    def add(self, beat: Beat, *, after: float) -> None:
        """Have `beat` called for the first time in `after` seconds."""
        if not self._due or trio.current_time() + after < self._due[0][0]:
            self._sooner.set()
        self._push(beat, after)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._beat()
            await self._wait()

    def _beat(self) -> None:
        now = trio.current_time()
        while self._due and self._due[0][0] <= now:
            _, _, beat = heapq.heappop(self._due)
            after = beat()
            if after is not None:
                self._push(beat, after)

    async def _wait(self) -> None:
        self._sooner = trio.Event()
        with trio.CancelScope() as scope:
            if self._due:
                scope.deadline = self._due[0][0]
            await self._sooner.wait()

    def _push(self, beat: Beat, after: float) -> None:
        heapq.heappush(self._due, (trio.current_time() + after, next(self._numbers), beat))
