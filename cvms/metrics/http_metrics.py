"""Metrics of requests, and of what is refused for the service to stay available."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

from prometheus_client import Counter, Histogram

from cvms.metrics.series import Series
from cvms.metrics.snapshot import Across

UNMATCHED = "unmatched"
"""The route of requests that reach none: of unknown paths, and those refused before."""
METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")
OTHER = "other"
BUCKETS = (0.025, 0.25, 2.5)
"""Few, since each route has them: usual, slow, and what waits for the chain."""
FIRST_CLASSES = (2, 5)
"""Classes of statuses whose series exist from the start; clients' mistakes begin with the first."""


class RouteMetrics:
    """The series of a method of a route, looked up once and not for each request."""

    def __init__(
        self, requests: Callable[[str], Counter], seconds: Callable[[], Histogram]
    ) -> None:
        self._requests = requests
        self._seconds_of = seconds
        self._by_class: dict[int, Counter] = {}

    @cached_property
    def _seconds(self) -> Histogram:
        return self._seconds_of()

    def answered(self, status: int, seconds: float) -> None:
        """Count a response, and the time that it took."""
        self._seconds.observe(seconds)
        self.counted(status)

    def counted(self, status: int) -> None:
        """Count a response whose time says nothing."""
        hundreds = status // 100
        if hundreds not in self._by_class:
            self._by_class[hundreds] = self._requests(f"{hundreds}xx")
        self._by_class[hundreds].inc()


class HttpMetrics:
    """Requests by route, and refusals."""

    def __init__(self, series: Series) -> None:
        self._requests = series.counter(
            "http_requests_total",
            "Requests answered, by method, route and class of the status",
            method=(),
            route=(),
            status=(),
        )
        self._seconds = series.histogram(
            "http_request_duration_seconds",
            "Time to answer a request, by route",
            BUCKETS,
            route=(),
        )
        self._start = series.start_at_zero
        self._start(self._seconds, route=(UNMATCHED,))
        self._unmatched = {method: self._series(method, UNMATCHED) for method in (*METHODS, OTHER)}
        self.limited = series.counter(
            "requests_limited_total",
            "Requests refused with 429, by the rate limit they exceeded",
            scope=("address", "sensitive", "owner", "guess", "streams", "in_flight"),
        )
        self.refused = series.counter(
            "http_refused_total",
            "Connections and requests refused or closed for the service to stay available, by "
            "reason",
            reason=("overloaded", "address", "total", "websockets", "evicted", "slow"),
        )
        self.limits_local = series.gauge(
            "limits_local",
            "1 while Redis is unavailable and each process applies rate limits by itself",
            Across.MAX,
        )

    def of_route(self, method: str, route: str) -> RouteMetrics:
        """Return the series of a method of a route, which are shown from now on."""
        classes = [f"{each}xx" for each in FIRST_CLASSES]
        self._start(self._requests, method=(method,), route=(route,), status=classes)
        self._start(self._seconds, route=(route,))
        return self._series(method, route)

    def unmatched(self, method: str) -> RouteMetrics:
        """Return the series of requests with this method that reach no route."""
        return self._unmatched.get(method) or self._unmatched[OTHER]

    def _series(self, method: str, route: str) -> RouteMetrics:
        return RouteMetrics(
            partial(self._requests.labels, method, route), partial(self._seconds.labels, route)
        )
