"""Adaptive rate limit of one endpoint: none until it throttles, then half the rate, then recovery.

Pure state, no I/O. Providers count calls, so a batch costs as many as it holds. A throttled request
halves the rate and pauses the endpoint; every second without one restores part of the rate.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

MIN_RATE = 1.0  # calls a second
FIRST_PAUSE_SECONDS = 0.25
MAX_PAUSE_SECONDS = 15.0
MAX_RETRY_AFTER_SECONDS = 60.0  # an endpoint that asks for more may be wrong, or malicious
BURST_SECONDS = 0.5  # the calls of this time may go out at once after an idle period
RECOVERY_SECONDS = 20.0  # in which the rate grows by as much as was too much


class AdaptiveRateLimiter:
    """Rate limiter of one endpoint. `clock` returns seconds, `jitter` numbers in [0, 1)."""

    def __init__(
        self, clock: Callable[[], float], *, jitter: Callable[[], float] = random.random
    ) -> None:
        self._clock = clock
        self._jitter = jitter
        self.rate = math.inf
        """Calls a second."""
        self._throttled_rate = 0.0  # calls a second when it last throttled
        self._refusals = 0  # consecutive
        self._slowed_at = -math.inf
        self._grown_at = 0.0
        self._paused_until = -math.inf
        self._free_at = -math.inf
        self._second, self._sent, self._sent_before = -math.inf, 0, 0

    @property
    def paused(self) -> bool:
        """True while the endpoint is paused because it throttled."""
        return self._clock() < self._paused_until

    @property
    def burst(self) -> float:
        """The number of calls that one request may hold."""
        self._grow()
        return max(1.0, self.rate)

    def wait(self) -> float:
        """Return the seconds until the next call may go out."""
        return max(0.0, max(self._paused_until, self._free_at) - self._clock())

    def reserve(self, calls: int) -> float:
        """Reserve a place for `calls` in first-come order.

        Return the seconds until they may go out.
        """
        self._grow()
        now = self._clock()
        if math.isinf(self.rate):
            return max(0.0, self._paused_until - now)
        start = max(self._free_at, now - BURST_SECONDS)
        self._free_at = start + calls / self.rate
        return max(0.0, max(start, self._paused_until) - now)

    def release(self, calls: int) -> None:
        """Return a reservation that was not used."""
        self._free_at -= calls / self.rate

    def sent(self, calls: int) -> None:
        """Count calls that go out: the rate at which the endpoint throttles follows from them."""
        now = self._clock()
        if now - self._second >= 1:
            self._sent_before = self._sent if now - self._second < 2 else 0
            self._second, self._sent = now, 0
        self._sent += calls

    def answered(self) -> None:
        """Note that a request was not throttled."""
        self._refusals = 0

    def refused(self, *, began: float, retry_after: float = 0.0) -> None:
        """Pause the endpoint and halve its rate, for a throttled request that went out at `began`.

        A request that went out before the rate was last halved does not halve it again.
        """
        now = self._clock()
        if began >= self._slowed_at:
            self._grow()
            self._throttled_rate = min(self.rate, max(self._sent, self._sent_before, 2 * MIN_RATE))
            self.rate = max(MIN_RATE, self._throttled_rate / 2)
            self._slowed_at = self._grown_at = now
            self._refusals += 1
        pause = min(MAX_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._refusals - 1, 16))
        pause *= 0.5 + self._jitter() / 2
        requested = min(retry_after, MAX_RETRY_AFTER_SECONDS) * (1 + self._jitter() / 10)
        self._paused_until = max(self._paused_until, now + max(pause, requested))
        self._free_at = max(self._free_at, self._paused_until)

    def _grow(self) -> None:
        if math.isinf(self.rate):
            return
        now = self._clock()
        since = max(self._grown_at, min(self._paused_until, now))
        self.rate += self._throttled_rate / RECOVERY_SECONDS * (now - since)
        self._grown_at = now
        if self.rate >= 2 * self._throttled_rate:
            self.rate = math.inf
