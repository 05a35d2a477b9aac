"""Series with the prefix of the service, which exist at 0 for all labels that are known."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, Summary
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from cvms.metrics.snapshot import Across

PREFIX = "cvms_"

Labels = Collection[str]
"""The values of a label that are known in advance; empty if others say them later."""


class Series(Collector):
    """Registers metrics, and remembers how the values of several processes become one.

    Series of known labels are made when values are read. Those of all routes would take longer
    than the rest of a front end.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.across: dict[str, Across] = {}
        self._known: list[tuple[MetricWrapperBase, dict[str, Labels]]] = []
        self.registry = registry
        registry.register(self)  # before the metrics, so it is also the first to be read

    def counter(self, name: str, text: str, **labels: Labels) -> Counter:
        """Register a counter; the values of processes are added up."""
        counter = Counter(PREFIX + name, text, list(labels), registry=self.registry)
        self.start_at_zero(counter, **labels)
        return counter

    def gauge(self, name: str, text: str, across: Across = Across.MAX, **labels: Labels) -> Gauge:
        """Register a gauge."""
        gauge = Gauge(PREFIX + name, text, list(labels), registry=self.registry)
        self.across[PREFIX + name] = across
        self.start_at_zero(gauge, **labels)
        return gauge

    def histogram(
        self, name: str, text: str, buckets: Sequence[float], **labels: Labels
    ) -> Histogram:
        """Register a histogram with these upper bounds, and one without a bound."""
        histogram = Histogram(
            PREFIX + name, text, list(labels), buckets=buckets, registry=self.registry
        )
        self.start_at_zero(histogram, **labels)
        return histogram

    def summary(self, name: str, text: str, **labels: Labels) -> Summary:
        """Register a count and a sum, where buckets would be too many series."""
        summary = Summary(PREFIX + name, text, list(labels), registry=self.registry)
        self.start_at_zero(summary, **labels)
        return summary

    def start_at_zero(self, metric: MetricWrapperBase, **labels: Labels) -> None:
        """Show all combinations of these values at 0: `increase` then sees their first change."""
        if labels:
            self._known.append((metric, labels))

    def collect(self) -> Sequence[Metric]:
        """Make the series that are known, and return none."""
        known, self._known = self._known, []
        for metric, labels in known:
            for values in product(*labels.values()):
                metric.labels(**dict(zip(labels, values, strict=True)))
        return ()
