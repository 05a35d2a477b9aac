"""The chain's clock: the wall clock, which can be moved and stopped."""

from __future__ import annotations

from collections.abc import Callable


class LocalnetClock:
    """Unix seconds at `offset` from `wall`, constant while paused."""

    def __init__(self, *, wall: Callable[[], float], offset: float = 0.0) -> None:
        self._wall = wall
        self._paused_at: float | None = None
        self.offset = offset

    def now(self) -> float:
        return self._paused_at if self._paused_at is not None else self._wall() + self.offset

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    def pause(self) -> None:
        self._paused_at = self.now()

    def resume(self) -> None:
        """Continue from the time at which it was paused."""
        if self._paused_at is not None:
            self.offset = self._paused_at - self._wall()
            self._paused_at = None

    def move_to(self, timestamp: float) -> None:
        self.offset = timestamp - self._wall()
        if self._paused_at is not None:
            self._paused_at = timestamp
