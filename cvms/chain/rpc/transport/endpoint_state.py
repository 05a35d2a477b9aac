"""State of the endpoints, as text for operators and as gauges for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cvms.chain.rpc.transport.endpoint_pool import (
    FAILURES_BEFORE_DOWN,
    Endpoint,
    EndpointPool,
    Health,
)
from cvms.metrics import Metrics
from cvms.metrics.rpc_metrics import ATTEMPT_OUTCOMES, OUTCOMES


@dataclass(frozen=True, slots=True)
class EndpointState:
    """State of one endpoint, without its URL. `latency` is in seconds.

    `failures` are consecutive; at `FAILURES_BEFORE_DOWN` it is down.
    """

    host: str
    health: Health
    failures: int
    slot: int
    latency: float | None
    detail: str

    @property
    def up(self) -> bool:
        """False while it is marked down, or never asked."""
        return self.health is not Health.DOWN


def states(pool: EndpointPool) -> list[EndpointState]:
    """Return the state of every endpoint, in the order of configuration."""
    return [
        EndpointState(
            host=each.host,
            health=each.health,
            failures=each.failures,
            slot=each.slot,
            latency=each.latency,
            detail=_detail(each),
        )
        for each in pool.all()
    ]


def summary(endpoints: Sequence[EndpointState]) -> str:
    """Return the states in one line."""
    return "; ".join(f"{each.host} {each.detail}" for each in endpoints)


METHODS = (
    "getBalance",
    "getBlock",
    "getBlockHeight",
    "getBlocks",
    "getEpochInfo",
    "getFirstAvailableBlock",
    "getGenesisHash",
    "getLatestBlockhash",
    "getMinimumBalanceForRentExemption",
    "getMultipleAccounts",
    "getProgramAccounts",
    "getRecentPrioritizationFees",
    "getSignatureStatuses",
    "getSignaturesForAddress",
    "getSlot",
    "getTransaction",
    "isBlockhashValid",
    "sendTransaction",
    "simulateTransaction",
)
"""The methods that the service calls: their metrics exist from the start."""


def show_endpoints(pool: EndpointPool, metrics: Metrics) -> None:
    """Set up gauges that read the pool when they are collected, so that calls pay nothing."""
    for each in pool.all():
        _show_endpoint(each, metrics)


def _show_endpoint(endpoint: Endpoint, metrics: Metrics) -> None:
    host = endpoint.host
    metrics.series.start_at_zero(metrics.rpc.requests, method=METHODS, outcome=OUTCOMES)
    metrics.series.start_at_zero(
        metrics.rpc.endpoint_requests, endpoint=(host,), outcome=ATTEMPT_OUTCOMES
    )
    metrics.series.start_at_zero(metrics.rpc.disagreements, endpoint=(host,))
    metrics.rpc.endpoint_up.labels(host).set_function(lambda: endpoint.health is not Health.DOWN)
    metrics.rpc.endpoint_slot.labels(host).set_function(lambda: endpoint.slot)
    metrics.rpc.endpoint_latency.labels(host).set_function(lambda: endpoint.latency or 0.0)


def _detail(endpoint: Endpoint) -> str:
    if endpoint.refused is not None:
        return f"is never asked: {endpoint.refused}"
    if endpoint.failures:
        return _failure(endpoint)
    if endpoint.rate_limiter.paused:
        return "is asked too often"
    if endpoint.disagrees:
        return "has other blocks than the others"
    if not endpoint.slot:
        return "is not asked yet"
    lag = "is behind" if endpoint.lagging else "answers"
    refused = "".join(
        f"; does not serve {method}: {refusal.problem}"
        for method, refusal in sorted(endpoint.refusals.items())
    )
    return f"{lag}, at slot {endpoint.slot}{refused}"


def _failure(endpoint: Endpoint) -> str:
    problem = f": {endpoint.problem}" if endpoint.problem else ""
    if endpoint.health is Health.DOWN:
        return f"is down, after {endpoint.failures} failures{problem}"
    return f"fails, {endpoint.failures} of {FAILURES_BEFORE_DOWN} times until down{problem}"
