"""Queries of the chosen job, as Prometheus' language writes them."""

from __future__ import annotations

from typing import Literal

WITHOUT_PROBES = 'route!~"/health|/ready|/ready/traffic|/metrics"'

Over = Literal["sum", "min", "max"]


def series(metric: str, where: str = "") -> str:
    """Return the selector of a metric."""
    return f'{metric}{{job="$job"{"," + where if where else ""}}}'


def over(how: Over, metric: str, by: str = "", where: str = "") -> str:
    """Return the newest values of a gauge, taken together over all processes."""
    return f"{how}{_by(by)}({series(metric, where)})"


def per_second(counter: str, by: str = "", where: str = "") -> str:
    """Return how fast a counter grows."""
    return f"sum{_by(by)}(rate({series(counter, where)}[$__rate_interval]))"


def in_an_hour(counter: str, by: str = "", where: str = "") -> str:
    """Return by how much a counter has grown within an hour."""
    return f"sum{_by(by)}(increase({series(counter, where)}[1h]))"


def quantile(share: float, histogram: str, by: str = "", where: str = "") -> str:
    """Return the value below which this share of the observations is."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {per_second(f'{histogram}_bucket', labels, where)})"


def average(summary: str, by: str = "") -> str:
    """Return the mean of what was observed."""
    return f"{per_second(f'{summary}_sum', by)} / {per_second(f'{summary}_count', by)}"


def top(query: str) -> str:
    """Return the ten largest results."""
    return f"topk(10, {query})"


def or_zero(query: str) -> str:
    """Return the results, or 0 if there are none, as before the first event."""
    return f"{query} or vector(0)"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
