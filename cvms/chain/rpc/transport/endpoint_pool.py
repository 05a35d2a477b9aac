"""RPC endpoints and their health: which to use next, and when to stop using one.

Pure state, no I/O: the callers report how each call went. A URL may hold an API key in its user
info, path or query, so only an endpoint's host is ever shown.

The first endpoint in the configuration is preferred. Another is used while it fails, is behind
another by a margin, or throttles. It is used again once that is over, or was observed too long ago
to count. No endpoint that responds is excluded for good.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from cvms.chain.rpc.transport.adaptive_rate import AdaptiveRateLimiter
from cvms.errors import ConfigurationError
from cvms.secret_urls import host_of, redacted

FAILURES_BEFORE_DOWN = 3  # one lost packet is no outage
FIRST_DOWN_SECONDS = 0.5
MAX_DOWN_SECONDS = 15.0
FORGET_SECONDS = 10.0  # a failure or a lag older than this no longer counts
LAG_SLOTS = 10  # an endpoint further behind another than this counts as lagging …
CAUGHT_UP_SLOTS = 3  # … until it is this close, so that two of similar lag do not alternate
ROLLED_BACK_SLOTS = 150  # further back than any commitment: the node was restarted
MAX_SLOT = 2**53  # no chain has a later one
WEIGHT = 0.2  # of the newest attempt in the moving averages
UNRELIABLE, RELIABLE = 0.3, 0.1  # share of failed attempts
MAX_BATCH = 100
FIRST_REFUSAL_SECONDS = 1.0  # for which a method or a batch is not tried first, doubled each time
MAX_REFUSAL_SECONDS = 300.0
FIRST_BATCH_REFUSAL_SECONDS = 30.0
BATCH_THROTTLES = 4  # consecutive batches throttled before none is sent any more
LIVENESS_METHOD = "getSlot"
"""Every node serves it: one that refuses it is not well."""


@dataclass(slots=True)
class Refusal:
    """Why a method is not served, how often in a row, and until when another endpoint is better."""

    problem: str
    count: int
    until: float


class Health(StrEnum):
    """Health of an endpoint: a failing one is still used, until it has failed too often."""

    UP = "up"
    FAILING = "failing"
    DOWN = "down"


@dataclass(slots=True, eq=False)
class Endpoint:
    """One URL and its health. Times are clock seconds. `host` may be shown, `url` may not."""

    url: str = field(repr=False)
    host: str
    order: int
    rate_limiter: AdaptiveRateLimiter = field(repr=False)
    failures: int = 0
    """Consecutive ones."""
    failed_at: float = 0.0
    down_until: float = 0.0
    trials: int = 0
    problem: str = ""
    """Why the last attempt failed."""
    slot: int = 0
    """The newest slot that it has shown; 0 before the first."""
    lagging: bool = False
    lag_judged_at: float = 0.0
    latency: float | None = None
    """Moving average of the response time, in seconds."""
    errors: float = 0.0
    """Moving average of the share of attempts that fail."""
    unreliable: bool = False
    batch_limit: int = MAX_BATCH
    batch_refusals: int = 0
    batch_limited_until: float = 0.0
    batch_throttles: int = 0
    """Consecutive batches that were throttled."""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """The methods that it did not serve when last asked."""
    refused: str | None = None
    """Why it is never used: it is on another chain."""
    checked: bool = False
    """True once it was asked for its chain since it was last down."""
    disagrees: bool = False
    """Its blocks differ from those of the others: it is used only when no other is left."""

    @property
    def health(self) -> Health:
        """Its health as its last attempts have shown it, also while it is tried again."""
        if self.refused is not None or self.failures >= FAILURES_BEFORE_DOWN:
            return Health.DOWN
        return Health.FAILING if self.failures else Health.UP

    def redact(self, text: str) -> str:
        """Return a provider's words without what may be the key in this endpoint's URL."""
        return redacted(text, self.url)

    def answered(self, seconds: float) -> None:
        """Add the response time of an attempt to the average."""
        before = seconds if self.latency is None else self.latency
        self.latency = before + WEIGHT * (seconds - before)


class EndpointPool:
    """Endpoints, ordered by health. `clock` returns seconds, `jitter` numbers in [0, 1)."""

    def __init__(
        self,
        urls: Sequence[str],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        if not urls:
            raise ConfigurationError("no endpoint is given")
        self._clock = clock
        self._jitter = jitter
        self._endpoints = [
            Endpoint(url, host, order, AdaptiveRateLimiter(clock, jitter=jitter))
            for order, (url, host) in enumerate(zip(urls, _names(urls), strict=True))
        ]

    @property
    def available(self) -> bool:
        """False while no endpoint may be used: each is marked down or on another chain."""
        return bool(self.candidates())

    @property
    def newest_slot(self) -> int:
        """The newest slot of any trusted endpoint; 0 before the first response."""
        return max((each.slot for each in self._endpoints if _trusted(each)), default=0)

    def all(self) -> list[Endpoint]:
        """Return every endpoint, in the order of configuration."""
        return list(self._endpoints)

    def candidates(
        self,
        *,
        at_slot: int = 0,
        methods: Collection[str] = (),
        without: Collection[Endpoint] = (),
    ) -> list[Endpoint]:
        """Return the endpoints that may be used, best first.

        Those that serve `methods`, and those known to be at `at_slot`, are preferred.
        """
        now = self._clock()
        up = [each for each in self._endpoints if self.is_up(each, now) and each not in without]
        if len(up) > 1:
            up.sort(key=lambda each: self._rank(each, at_slot, methods, now))
        return up

    def is_up(self, endpoint: Endpoint, now: float | None = None) -> bool:
        """Return whether the endpoint is neither marked down nor refused.

        One that was down is tried by one caller at a time.
        """
        if endpoint.refused is not None:
            return False
        if endpoint.failures < FAILURES_BEFORE_DOWN:
            return True
        now = self._clock() if now is None else now
        return endpoint.down_until <= now and not endpoint.trials

    @contextmanager
    def trial(self, endpoint: Endpoint) -> Iterator[None]:
        """Wrap an attempt: until it ends, no other caller tries an endpoint that was down."""
        endpoint.trials += 1
        try:
            yield
        finally:
            endpoint.trials -= 1

    def succeeded(self, endpoint: Endpoint, seconds: float | None = None) -> None:
        """Record a response, and the seconds that it took."""
        endpoint.failures = 0
        endpoint.down_until = 0.0
        endpoint.problem = ""
        endpoint.rate_limiter.answered()
        if endpoint.errors:
            endpoint.errors *= 1 - WEIGHT
            self._judge_errors(endpoint)
        if seconds is not None:
            endpoint.answered(seconds)

    def failed(self, endpoint: Endpoint, problem: str = "", *, retry_after: float = 0.0) -> None:
        """Record a failure. From the third on, mark the endpoint down, for a capped backoff."""
        now = self._clock()
        endpoint.failures += 1
        endpoint.failed_at = now
        endpoint.problem = problem
        endpoint.errors += WEIGHT * (1 - endpoint.errors)
        self._judge_errors(endpoint)
        excess = endpoint.failures - FAILURES_BEFORE_DOWN
        if excess < 0:
            return
        pause = min(MAX_DOWN_SECONDS, FIRST_DOWN_SECONDS * 2 ** min(excess, 16))
        pause *= 0.5 + self._jitter() / 2
        pause = max(pause, min(retry_after, MAX_DOWN_SECONDS))
        endpoint.down_until = now + pause
        endpoint.checked = False

    def served(self, endpoint: Endpoint, methods: Collection[str]) -> None:
        """Record that the endpoint serves these methods."""
        for method in methods:
            endpoint.refusals.pop(method, None)

    def method_failed(self, endpoint: Endpoint, method: str, problem: str) -> None:
        """Record that the endpoint does not serve a method, for a while that grows each time."""
        before = endpoint.refusals.get(method)
        count = before.count + 1 if before else 1
        pause = min(MAX_REFUSAL_SECONDS, FIRST_REFUSAL_SECONDS * 2 ** min(count - 1, 16))
        pause *= 0.5 + self._jitter() / 2
        endpoint.refusals[method] = Refusal(problem, count, self._clock() + pause)
        if method == LIVENESS_METHOD:
            self.failed(endpoint, problem)

    def limit_batch(self, endpoint: Endpoint, size: int) -> None:
        """Send at most `size` calls in one request, for a while that grows each time."""
        endpoint.batch_refusals += 1
        endpoint.batch_limit = max(1, size)
        doubled = FIRST_BATCH_REFUSAL_SECONDS * 2 ** min(endpoint.batch_refusals - 1, 16)
        endpoint.batch_limited_until = self._clock() + min(MAX_REFUSAL_SECONDS, doubled)

    def batch_limit(self, endpoint: Endpoint) -> int:
        """Return how many calls a request to the endpoint may hold now."""
        if self._clock() >= endpoint.batch_limited_until:
            endpoint.batch_limit = MAX_BATCH
        return int(min(endpoint.batch_limit, endpoint.rate_limiter.burst))

    def saw(self, endpoint: Endpoint, slot: int, *, newest: bool) -> None:
        """Record a slot that the endpoint has shown.

        `newest` says that it is the newest of the node, which a finalized slot is not.
        """
        if not 0 < slot < MAX_SLOT:
            return
        if slot > endpoint.slot or slot < endpoint.slot - ROLLED_BACK_SLOTS:
            endpoint.slot = slot
        if newest:
            self._judge_lag(endpoint, slot)

    def refuse(self, endpoint: Endpoint, reason: str | None) -> None:
        """Stop using the endpoint for this reason; with None, use it again."""
        endpoint.refused = reason

    def _judge_lag(self, endpoint: Endpoint, slot: int) -> None:
        # The others may have advanced since, so this never overstates the lag.
        others = (
            each.slot
            for each in self._endpoints
            if each is not endpoint and _trusted(each) and not each.failures
        )
        lag = max(others, default=0) - slot
        endpoint.lagging = lag > (CAUGHT_UP_SLOTS if endpoint.lagging else LAG_SLOTS)
        endpoint.lag_judged_at = self._clock()

    def _judge_errors(self, endpoint: Endpoint) -> None:
        bound = RELIABLE if endpoint.unreliable else UNRELIABLE
        endpoint.unreliable = endpoint.errors > bound

    def _rank(
        self, endpoint: Endpoint, at_slot: int, methods: Collection[str], now: float
    ) -> tuple[float, ...]:
        forgotten = now - FORGET_SECONDS
        refusals = endpoint.refusals
        return (
            endpoint.disagrees,
            any(each in refusals and now < refusals[each].until for each in methods),
            endpoint.rate_limiter.wait(),
            endpoint.failures > 0 and endpoint.failed_at > forgotten,
            not endpoint.checked,
            endpoint.slot < at_slot,
            endpoint.unreliable and endpoint.failed_at > forgotten,
            endpoint.lagging and endpoint.lag_judged_at > forgotten,
            endpoint.order,
        )


def _trusted(endpoint: Endpoint) -> bool:
    return endpoint.refused is None and not endpoint.disagrees


def _names(urls: Sequence[str]) -> list[str]:
    """Return a unique name for each URL: its host, numbered where two URLs share one."""
    hosts = [host_of(url) for url in urls]
    counts = {host: hosts.count(host) for host in hosts}
    return [
        host if counts[host] == 1 else f"{host}#{hosts[: index + 1].count(host)}"
        for index, host in enumerate(hosts)
    ]
