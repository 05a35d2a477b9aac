"""Delays between attempts, which grow to a limit and are jittered so that clients spread out."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Delays in seconds that double from `first` to `longest`, each scaled by 0.5 to 1."""

    def __init__(
        self, *, first: float, longest: float, jitter: Callable[[], float] = random.random
    ) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._attempts = 0

    def next(self, *, longest: float | None = None) -> float:
        """Return the next delay; `longest` replaces the limit for this one."""
        limit = self._longest if longest is None else longest
        delay = min(limit, self._first * 2.0 ** min(self._attempts, 32))
        self._attempts += 1
        return delay * (0.5 + self._jitter() / 2)

    def reset(self) -> None:
        """Start again from `first`."""
        self._attempts = 0
