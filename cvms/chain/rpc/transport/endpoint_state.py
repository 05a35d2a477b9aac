"""State of the endpoints, as text for operators and as gauges for Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cvms.chain.rpc.transport.endpoint_pool import Endpoint, EndpointPool
from cvms.metrics import Metrics
from cvms.metrics.rpc_metrics import ATTEMPT_OUTCOMES, OUTCOMES
from cvms.metrics.series import start_at_zero


@dataclass(frozen=True, slots=True)
class EndpointState:
    """State of one endpoint, without its URL. `latency` is in seconds."""

    host: str
    up: bool
    slot: int
    latency: float | None
    detail: str


def states(pool: EndpointPool) -> list[EndpointState]:
    """Return the state of every endpoint, in the order of configuration."""
    return [
        EndpointState(
            host=each.host,
            up=pool.is_up(each),
            slot=each.slot,
            latency=each.latency,
            detail=_detail(pool, each),
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
        _show_endpoint(pool, each, metrics)


def _show_endpoint(pool: EndpointPool, endpoint: Endpoint, metrics: Metrics) -> None:
    host = endpoint.host
    start_at_zero(metrics.rpc.requests, method=METHODS, outcome=OUTCOMES)
    start_at_zero(metrics.rpc.endpoint_requests, endpoint=(host,), outcome=ATTEMPT_OUTCOMES)
    start_at_zero(metrics.rpc.request_seconds, endpoint=(host,), method=METHODS)
    start_at_zero(metrics.rpc.disagreements, endpoint=(host,))
    metrics.rpc.endpoint_up.labels(host).set_function(lambda: float(pool.is_up(endpoint)))
    metrics.rpc.endpoint_slot.labels(host).set_function(lambda: endpoint.slot)
    metrics.rpc.endpoint_latency.labels(host).set_function(lambda: endpoint.latency or 0.0)


def _detail(pool: EndpointPool, endpoint: Endpoint) -> str:
    if endpoint.refused is not None:
        return f"is never asked: {endpoint.refused}"
    if endpoint.failures and endpoint.problem:
        down = "answers" if pool.is_up(endpoint) else "is down"
        return f"{down}, with failures: {endpoint.problem}"
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
