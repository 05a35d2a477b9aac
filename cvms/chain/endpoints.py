"""RPC endpoints and their health: which to try next, and when to stop trying.

Pure state, no I/O. A URL may carry an API key in its user part, path or query, so an endpoint
shows its host only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cvms.errors import ConfigurationError

FAILURES_BEFORE_DOWN = 3  # one lost packet is no outage
FIRST_DOWN_SECONDS = 0.5
LONGEST_DOWN_SECONDS = 15.0


@dataclass(slots=True, eq=False)
class Endpoint:
    """One URL, its consecutive failures and until when (clock seconds) it is left alone."""

    url: str = field(repr=False)
    host: str
    failures: int = 0
    down_until: float = 0.0


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
        self._endpoints = [Endpoint(url, host_of(url)) for url in urls]
        self._clock = clock
        self._jitter = jitter

    @property
    def available(self) -> bool:
        """False while every endpoint is marked down."""
        return bool(self.candidates())

    def candidates(self) -> list[Endpoint]:
        """The endpoints not marked down, healthiest first, in the order given among equals."""
        now = self._clock()
        up = [endpoint for endpoint in self._endpoints if endpoint.down_until <= now]
        return sorted(up, key=lambda endpoint: endpoint.failures)

    def all(self) -> list[Endpoint]:
        """Every endpoint, marked down or not, healthiest first."""
        return sorted(self._endpoints, key=lambda endpoint: endpoint.failures)

    def trial(self, endpoint: Endpoint, seconds: float) -> None:
        """Called before an attempt that may take `seconds`.

        An endpoint that was down is tried by one caller at a time: the others still fail at once.
        """
        if endpoint.failures >= FAILURES_BEFORE_DOWN:
            endpoint.down_until = self._clock() + seconds

    def succeeded(self, endpoint: Endpoint) -> None:
        endpoint.failures = 0
        endpoint.down_until = 0.0

    def failed(self, endpoint: Endpoint, *, retry_after: float = 0.0) -> None:
        """Count a failure; from the third on, mark down for a growing, capped, jittered while."""
        endpoint.failures += 1
        excess = endpoint.failures - FAILURES_BEFORE_DOWN
        if excess < 0:
            return
        pause = min(LONGEST_DOWN_SECONDS, FIRST_DOWN_SECONDS * 2 ** min(excess, 16))
        pause *= 0.5 + self._jitter() / 2
        pause = max(pause, min(retry_after, LONGEST_DOWN_SECONDS))
        endpoint.down_until = self._clock() + pause
