"""How long to wait before trying again: growing, capped, and never the same for two clients."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays in seconds: doubling from `first` to `longest`, each scaled by 0.5 to 1."""

    def __init__(
        self, *, first: float, longest: float, jitter: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._attempts = 0

    def next(self) -> float:
        """The next delay."""
        delay = min(self._longest, self._first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return delay * (0.5 + self._jitter() / 2)

    def reset(self) -> None:
        """Start again from `first`."""
        self._attempts = 0
