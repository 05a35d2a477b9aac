"""Metrics of the RPC endpoints."""

from __future__ import annotations

from cvms.metrics.series import Series
from cvms.metrics.snapshot import Across

OUTCOMES = ("ok", "error", "timeout", "unavailable")
ATTEMPT_OUTCOMES = (*OUTCOMES, "throttled")

# A node nearby, a provider, a slow one, and one that is about to time out. Few, and none before the
# first call: there is a series of each for every method of every endpoint.
ATTEMPT_SECONDS = (0.05, 0.2, 1.0, 3.0)


class RpcMetrics:
    """Requests to nodes, and the state of the endpoints, which are named by their host."""

    def __init__(self, series: Series) -> None:
        self.requests = series.counter(
            "rpc_requests_total",
            "JSON-RPC requests by method and outcome",
            method=(),
            outcome=(),
        )
        self.endpoint_requests = series.counter(
            "rpc_endpoint_requests_total",
            "Attempts at an RPC endpoint (by host) by outcome; throttled: by its rate limit",
            endpoint=(),
            outcome=(),
        )
        self.request_seconds = series.histogram(
            "rpc_request_duration_seconds",
            "Time of an attempt at an RPC endpoint, answered or not, by method",
            ATTEMPT_SECONDS,
            endpoint=(),
            method=(),
        )
        self.endpoint_up = series.gauge(
            "rpc_endpoint_up",
            "1 while an RPC endpoint is in use: it is reachable and on the right chain",
            Across.MIN,
            endpoint=(),
        )
        self.endpoint_slot = series.gauge(
            "rpc_endpoint_slot", "Newest slot seen at an RPC endpoint", endpoint=()
        )
        self.endpoint_latency = series.gauge(
            "rpc_endpoint_latency_seconds",
            "Moving average of an RPC endpoint's response time",
            endpoint=(),
        )
        self.disagreements = series.counter(
            "rpc_disagreements_total",
            "Comparisons in which an RPC endpoint had another finalized block or another chain",
            endpoint=(),
        )
        self.priority_fees_known = series.gauge(
            "priority_fees_known",
            "0 while no RPC endpoint says what others pay: transactions are built without a price",
            Across.MIN,
        )
        self.priority_fees_known.set(1)
        self.watched_accounts = series.gauge(
            "watched_accounts", "Accounts of the chain that WebSocket clients watch", Across.SUM
        )
