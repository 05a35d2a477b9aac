"""Series with the prefix of the service, which exist at 0 for all labels that are known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary
from prometheus_client.metrics import MetricWrapperBase

from cvms.metrics.snapshot import Across

PREFIX = "cvms_"

Labels = Collection[str]
"""The values of a label that are known in advance; empty if others say them later."""


class Series:
    """Registers metrics, and remembers how the values of several processes become one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.across: dict[str, Across] = {}

    def counter(self, name: str, text: str, **labels: Labels) -> Counter:
        """Register a counter; the values of processes are added up."""
        counter = Counter(PREFIX + name, text, list(labels), registry=self.registry)
        _start(counter, labels)
        return counter

    def gauge(self, name: str, text: str, across: Across = Across.MAX, **labels: Labels) -> Gauge:
        """Register a gauge."""
        gauge = Gauge(PREFIX + name, text, list(labels), registry=self.registry)
        self.across[PREFIX + name] = across
        _start(gauge, labels)
        return gauge

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], **labels: Labels
    ) -> Histogram:
        """Register a histogram with these upper bounds, and one without a bound."""
        histogram = Histogram(
            PREFIX + name, text, list(labels), buckets=buckets, registry=self.registry
        )
        _start(histogram, labels)
        return histogram

    def summary(self, name: str, text: str, **labels: Labels) -> Summary:
        """Register a count and a sum, where buckets would be too many series."""
        summary = Summary(PREFIX + name, text, list(labels), registry=self.registry)
        _start(summary, labels)
        return summary


def start_at_zero(metric: MetricWrapperBase, **labels: Labels) -> None:
    """Make the series of all combinations of these values: `increase` sees their first change."""
    for values in product(*labels.values()):
        metric.labels(**dict(zip(labels, values, strict=True)))


def _start(metric: MetricWrapperBase, labels: dict[str, Labels]) -> None:
    if labels:
        start_at_zero(metric, **labels)
