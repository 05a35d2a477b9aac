"""The chain's idea of the time: the wall clock, moved or held by whoever asks."""

from __future__ import annotations

from collections.abc import Callable


class ChainTime:
    """Unix seconds, `offset` away from `wall`; while paused it stands still."""

    def __init__(self, *, wall: Callable[[], float], offset: float = 0.0) -> None:
        self._wall = wall
        self._held: float | None = None
        self.offset = offset

    def now(self) -> float:
        return self._held if self._held is not None else self._wall() + self.offset

    @property
    def paused(self) -> bool:
        return self._held is not None

    def pause(self) -> None:
        self._held = self.now()

    def resume(self) -> None:
        """Go on from the moment it stood still at."""
        if self._held is not None:
            self.offset = self._held - self._wall()
            self._held = None

    def move_to(self, timestamp: float) -> None:
        self.offset = timestamp - self._wall()
        if self._held is not None:
            self._held = timestamp
