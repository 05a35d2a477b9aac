"""Prometheus metrics: names, labels and units. One `Metrics` is built, and passed by argument."""

from cvms.metrics.metrics import Metrics

__all__ = ["Metrics"]
