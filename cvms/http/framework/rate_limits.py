"""Rate limits: per address, per owner and in total, and stricter ones for sensitive routes.

The address is known at once, the owner only after signature and nonce were verified: otherwise
anybody could use up the allowance of another owner.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from cvms.config.parsers import Network
from cvms.config.settings import Rates
from cvms.errors import Overloaded, RateLimited
from cvms.http.framework.client_address import client_address
from cvms.http.framework.request import Request, current_request
from cvms.metrics import Metrics
from cvms.store.redis.rate_limiter import Allowance, Claim, Limiter, Rate

# Unsigned codes that one address may try for one owner.
GUESSES = Rate(10, 600.0)
# Streamed replies at a time. Each holds a connection to the database until its client has read it.
MAX_STREAMS = 4
MAX_STREAMS_OF_ADDRESS = 2


@dataclass(slots=True, kw_only=True, eq=False)
class RateLimits:
    """Admits requests within the limits. Each method raises RateLimited beyond them."""

    limiter: Limiter
    rates: Rates
    proxies: Sequence[Network]
    metrics: Metrics
    streams: Counter[str] = field(default_factory=Counter)
    """The number of replies that are being streamed to each address."""

    async def admit(self, request: Request) -> None:
        """Count a request at the edge."""
        address = self.address_of(request)
        await self._take(
            request, "address", (f"ip:{address}", self.rates.address), ("all", self.rates.everybody)
        )

    async def admit_sensitive(self, request: Request, route: str) -> None:
        """Count a request to a route that grants access or moves money."""
        key = f"ip:{self.address_of(request)}:{route}"
        await self._take(request, "sensitive", (key, self.rates.sensitive))

    async def admit_owner(self, owner: str) -> None:
        """Count a request signed by `owner`."""
        await self._take(current_request(), "owner", (f"owner:{owner}", self.rates.owner))

    async def admit_guess(self, request: Request, owner: str) -> None:
        """Count an unsigned code for `owner`."""
        key = f"ip:{self.address_of(request)}:guess:{owner}"
        await self._take(request, "guess", (key, GUESSES))

    @contextmanager
    def stream(self, request: Request) -> Iterator[None]:
        """Count a streamed reply until its end. Raises RateLimited or Overloaded."""
        address = self.address_of(request)
        if self.streams[address] >= MAX_STREAMS_OF_ADDRESS:
            self.metrics.http.limited.labels(scope="streams").inc()
            raise RateLimited(
                f"This address is reading {MAX_STREAMS_OF_ADDRESS} streams, the maximum.",
                retry_after=1,
            )
        if self.streams.total() >= MAX_STREAMS:
            self.metrics.http.refused.labels(reason="overloaded").inc()
            raise Overloaded(
                f"The service is already sending {MAX_STREAMS} streams, its maximum. Try again in "
                "a moment, or request pages of JSON."
            )
        self.streams[address] += 1
        try:
            yield
        finally:
            self.streams[address] -= 1
            if not self.streams[address]:
                del self.streams[address]

    def address_of(self, request: Request) -> str:
        """Return the client's address, as `client_address` finds it."""
        if request.address is None:
            request.address = client_address(
                request.peer,
                self.proxies,
                x_forwarded_for=request.headers.get("x-forwarded-for", ()),
                forwarded=request.headers.get("forwarded", ()),
            )
        return request.address

    async def _take(self, request: Request, scope: str, *wanted: tuple[str, Rate | None]) -> None:
        claims = [Claim(key, rate) for key, rate in wanted if rate is not None]
        if not claims:
            return
        allowance = await self.limiter.take(claims)
        request.allowances.append(allowance)
        if allowance.retry_after is not None:
            self.metrics.http.limited.labels(scope=scope).inc()
            seconds = math.ceil(allowance.retry_after)
            raise RateLimited(f"Too many requests. Try again in {seconds} s.", retry_after=seconds)


def limit_headers(allowances: Sequence[Allowance]) -> dict[str, str]:
    """Return the `RateLimit-*` headers of the scarcest allowance."""
    if not allowances:
        return {}
    scarcest = min(allowances, key=lambda each: (each.retry_after is None, each.remaining))
    return {
        "RateLimit-Limit": str(scarcest.limit),
        "RateLimit-Remaining": str(scarcest.remaining),
        "RateLimit-Reset": str(math.ceil(scarcest.reset_after)),
    }
