"""How fast one endpoint may be asked: not at all slowed until it refuses, then half, then more.

Pure state, no I/O. What providers count are calls, so a batch costs as many as it holds. A refusal
halves the rate and stops the endpoint for a while; each second without one gives a little back.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

SLOWEST = 1.0  # calls a second
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 15.0
LONGEST_TOLD_SECONDS = 60.0  # of what an endpoint asks for: it may be wrong, or mean harm
BURST_SECONDS = 0.5  # of the rate, that may be asked at once after a rest
SECONDS_TO_FULL = 20.0  # in which the rate grows by as much as was refused


class AdaptiveRateLimiter:
    """One endpoint's rate. `clock` gives seconds, `jitter` numbers in [0, 1)."""

    def __init__(
        self, clock: Callable[[], float], *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self.rate = math.inf
        """Calls a second."""
        self._refused = 0.0  # calls a second when it last refused
        self._refusals = 0  # in a row
        self._slowed_at = -math.inf
        self._grown_at = 0.0
        self._paused_until = -math.inf
        self._free_at = -math.inf
        self._second, self._asked, self._asked_before = -math.inf, 0, 0

    @property
    def paused(self) -> bool:
        """Whether it is left alone because it refused."""
        return self._clock() < self._paused_until

    @property
    def burst(self) -> float:
        """How many calls one request should hold at the most."""
        self._grow()
        return max(1.0, self.rate)

    def wait(self) -> float:
        """Seconds until the next call may go out."""
        return max(0.0, max(self._paused_until, self._free_at) - self._clock())

    def reserve(self, calls: int) -> float:
        """Take the turn of `calls`; seconds until they may go out. First come, first served."""
        self._grow()
        now = self._clock()
        if math.isinf(self.rate):
            return max(0.0, self._paused_until - now)
        start = max(self._free_at, now - BURST_SECONDS)
        self._free_at = start + calls / self.rate
        return max(0.0, max(start, self._paused_until) - now)

    def release(self, calls: int) -> None:
        """Give a turn back that was reserved and not used."""
        self._free_at -= calls / self.rate

    def sent(self, calls: int) -> None:
        """Count what goes out, which says how much was too much."""
        now = self._clock()
        if now - self._second >= 1:
            self._asked_before = self._asked if now - self._second < 2 else 0
            self._second, self._asked = now, 0
        self._asked += calls

    def answered(self) -> None:
        """What was asked was not refused."""
        self._refusals = 0

    def refused(self, *, began: float, retry_after: float = 0.0) -> None:
        """Pause, and slow down. `began`: when the refused request went out.

        Refusals of what went out before it was slowed down say nothing new about the rate.
        """
        now = self._clock()
        if began >= self._slowed_at:
            self._grow()
            self._refused = min(self.rate, max(self._asked, self._asked_before, 2 * SLOWEST))
            self.rate = max(SLOWEST, self._refused / 2)
            self._slowed_at = self._grown_at = now
            self._refusals += 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._refusals - 1, 16))
        pause *= 0.5 + self._jitter() / 2
        told = min(retry_after, LONGEST_TOLD_SECONDS) * (1 + self._jitter() / 10)
        self._paused_until = max(self._paused_until, now + max(pause, told))
        self._free_at = max(self._free_at, self._paused_until)

    def _grow(self) -> None:
        if math.isinf(self.rate):
            return
        now = self._clock()
        since = max(self._grown_at, min(self._paused_until, now))
        self.rate += self._refused / SECONDS_TO_FULL * (now - since)
        self._grown_at = now
        if self.rate >= 2 * self._refused:
            self.rate = math.inf
