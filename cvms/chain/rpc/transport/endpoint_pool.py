"""RPC endpoints and their health: which to try next, and when to stop trying.

Pure state, no I/O: the calls themselves say how each endpoint did. A URL may carry an API key in
its user part, path or query, so an endpoint shows its host only.

The first in the order of configuration is preferred. It is left when it fails, when it is behind
another by a margin, or when it refuses for being asked too much; and taken again when that is over,
or is so old that it has to be seen anew. No endpoint that answers is ever without its turn.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cvms.chain.rpc.transport.adaptive_rate import AdaptiveRateLimiter
from cvms.errors import ConfigurationError

FAILURES_BEFORE_DOWN = 3  # one lost packet is no outage
FIRST_DOWN_SECONDS = 0.5
LONGEST_DOWN_SECONDS = 15.0
FORGIVEN_SECONDS = 10.0  # after which a failure or a lag is history, and has to be seen anew
LAG_SLOTS = 10  # behind another by more than this, an endpoint is left …
CAUGHT_UP_SLOTS = 3  # … and taken again from here on: two that differ by little do not take turns
ROLLED_BACK_SLOTS = 150  # so far back it is no older commitment but a node that was started anew
HIGHEST_SLOT = 2**53  # more is no slot of any chain
WEIGHT = 0.2  # of the newest attempt in the averages
UNRELIABLE, RELIABLE = 0.3, 0.1  # share of attempts that fail
LARGEST_BATCH = 100


@dataclass(slots=True, eq=False)
class Endpoint:
    """One URL and what is known of it. Times are clock seconds; `host` is what may be shown."""

    url: str = field(repr=False)
    host: str
    order: int
    rate_limiter: AdaptiveRateLimiter = field(repr=False)
    failures: int = 0
    """In a row."""
    failed_at: float = 0.0
    down_until: float = 0.0
    trials: int = 0
    problem: str = ""
    """Why the last attempt failed."""
    slot: int = 0
    """The newest it was seen at; 0 before it was."""
    lagging: bool = False
    lag_judged_at: float = 0.0
    latency: float | None = None
    """Seconds, a moving average of the attempts that were answered."""
    errors: float = 0.0
    """Share of attempts that fail, a moving average."""
    unreliable: bool = False
    batch_limit: int = LARGEST_BATCH
    refused: str | None = None
    """Why it is never asked: it is on another chain."""
    checked: bool = False
    """Whether it was asked which chain it is on, since it was down last."""
    disagrees: bool = False
    """Its blocks are not those of the others: asked only when no other is left."""

    def answered(self, seconds: float) -> None:
        """Take the time of an attempt into the average."""
        before = seconds if self.latency is None else self.latency
        self.latency = before + WEIGHT * (seconds - before)


def host_of(url: str) -> str:
    """Host and port: all of a URL that may be shown. Raises ConfigurationError without one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ConfigurationError("an endpoint's URL has no valid host and port")
    shown = f"[{host}]" if ":" in host else host
    return shown if port is None else f"{shown}:{port}"


class EndpointPool:
    """Orders endpoints by health. `clock` gives seconds, `jitter` numbers in [0, 1)."""

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
        """False while no endpoint may be asked: each is marked down or on another chain."""
        return bool(self.candidates())

    @property
    def newest_slot(self) -> int:
        """The newest slot that any endpoint to be believed was seen at; 0 before that."""
        return max((each.slot for each in self._endpoints if _believed(each)), default=0)

    def all(self) -> list[Endpoint]:
        """Every endpoint, in the order of configuration."""
        return list(self._endpoints)

    def candidates(self, *, at_slot: int = 0, without: Collection[Endpoint] = ()) -> list[Endpoint]:
        """Those that may be asked, best first; those known to be at `at_slot` before others."""
        now = self._clock()
        up = [each for each in self._endpoints if self.is_up(each, now) and each not in without]
        if len(up) > 1:
            up.sort(key=lambda each: self._rank(each, at_slot, now))
        return up

    def is_up(self, endpoint: Endpoint, now: float | None = None) -> bool:
        """Neither marked down nor refused. One that was down is tried by one caller at a time."""
        if endpoint.refused is not None:
            return False
        if endpoint.failures < FAILURES_BEFORE_DOWN:
            return True
        now = self._clock() if now is None else now
        return endpoint.down_until <= now and not endpoint.trials

    @contextmanager
    def trial(self, endpoint: Endpoint) -> Iterator[None]:
        """Around an attempt: while one that was down is being tried, others still fail at once.

        Leaving it, cancelled or not, takes the mark away.
        """
        endpoint.trials += 1
        try:
            yield
        finally:
            endpoint.trials -= 1

    def succeeded(self, endpoint: Endpoint, seconds: float | None = None) -> None:
        """It answered, in so many seconds."""
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
        """Count a failure; from the third on, mark down for a growing, capped, jittered while."""
        now = self._clock()
        endpoint.failures += 1
        endpoint.failed_at = now
        endpoint.problem = problem
        endpoint.errors += WEIGHT * (1 - endpoint.errors)
        self._judge_errors(endpoint)
        excess = endpoint.failures - FAILURES_BEFORE_DOWN
        if excess < 0:
            return
        pause = min(LONGEST_DOWN_SECONDS, FIRST_DOWN_SECONDS * 2 ** min(excess, 16))
        pause *= 0.5 + self._jitter() / 2
        pause = max(pause, min(retry_after, LONGEST_DOWN_SECONDS))
        endpoint.down_until = now + pause
        endpoint.checked = False

    def saw(self, endpoint: Endpoint, slot: int, *, newest: bool) -> None:
        """It showed itself at `slot`. `newest`: as new as it has; a finalized slot is not."""
        if not 0 < slot < HIGHEST_SLOT:
            return
        if slot > endpoint.slot or slot < endpoint.slot - ROLLED_BACK_SLOTS:
            endpoint.slot = slot
        if newest:
            self._judge_lag(endpoint, slot)

    def refuse(self, endpoint: Endpoint, reason: str | None) -> None:
        """Never ask it, for this reason; with None, ask it again."""
        endpoint.refused = reason

    def _judge_lag(self, endpoint: Endpoint, slot: int) -> None:
        # What the others were last seen at is never too new, so no lag is seen that is not there.
        others = (
            each.slot
            for each in self._endpoints
            if each is not endpoint and _believed(each) and not each.failures
        )
        lag = max(others, default=0) - slot
        endpoint.lagging = lag > (CAUGHT_UP_SLOTS if endpoint.lagging else LAG_SLOTS)
        endpoint.lag_judged_at = self._clock()

    def _judge_errors(self, endpoint: Endpoint) -> None:
        bound = RELIABLE if endpoint.unreliable else UNRELIABLE
        endpoint.unreliable = endpoint.errors > bound

    def _rank(self, endpoint: Endpoint, at_slot: int, now: float) -> tuple[float, ...]:
        old = now - FORGIVEN_SECONDS
        return (
            endpoint.disagrees,
            endpoint.rate_limiter.wait(),
            endpoint.failures > 0 and endpoint.failed_at > old,
            not endpoint.checked,
            endpoint.slot < at_slot,
            endpoint.unreliable and endpoint.failed_at > old,
            endpoint.lagging and endpoint.lag_judged_at > old,
            endpoint.order,
        )


def _believed(endpoint: Endpoint) -> bool:
    return endpoint.refused is None and not endpoint.disagrees


def _names(urls: Sequence[str]) -> list[str]:
    """A name for each URL that is no other's: its host, numbered where two are of one provider."""
    hosts = [host_of(url) for url in urls]
    counts = {host: hosts.count(host) for host in hosts}
    return [
        host if counts[host] == 1 else f"{host}#{hosts[: index + 1].count(host)}"
        for index, host in enumerate(hosts)
    ]
