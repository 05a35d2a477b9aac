"""The values of all series of a process at one time, and those of several processes as one.

Counters are added up, those of processes that have ended too: they never go back. A gauge is of
the processes that live.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum

import msgspec
from prometheus_client import Metric
from prometheus_client.registry import Collector


class Across(StrEnum):
    """How the values of several processes become one. NaN is no value.

    OWN: they do not, and a scrape shows the value of the process that answers it.
    """

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    OWN = "own"


Label = tuple[str, str]


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One series: its name, its labels, and its value."""

    name: str
    labels: tuple[Label, ...]
    value: float


class Family(msgspec.Struct, frozen=True, array_like=True):
    """The series of one metric."""

    name: str
    kind: str
    text: str
    across: Across
    samples: tuple[Sample, ...]


Snapshot = Sequence[Family]

GAUGES = frozenset({"gauge", "info", "unknown"})
_COMBINE: dict[Across, Callable[[float, float], float]] = {
    Across.SUM: lambda one, other: one + other,
    Across.MAX: max,
    Across.MIN: min,
    Across.OWN: lambda one, other: one,
}


def take_snapshot(registry: Collector, across: Mapping[str, Across]) -> Snapshot:
    """Return the current values. `across` names the metrics whose kind does not tell it."""
    return list(iterate_families(registry, across))


def iterate_families(registry: Collector, across: Mapping[str, Across]) -> Iterator[Family]:
    """Yield the families one by one, each with its values of the moment."""
    return (_family(each, across) for each in registry.collect())


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the values of several processes as those of one."""
    merged: dict[str, Family] = {}
    for family in (each for snapshot in snapshots for each in snapshot):
        before = merged.get(family.name)
        merged[family.name] = family if before is None else _merge_families(before, family)
    return list(merged.values())


def counted(snapshot: Snapshot) -> Snapshot:
    """Return what remains of a process that has ended."""
    return [each for each in snapshot if each.kind not in GAUGES]


class SnapshotCollector(Collector):
    """A snapshot, for the encoders of the library."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        for family in self._snapshot:
            metric = Metric(family.name, family.text, family.kind)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


def _family(metric: Metric, across: Mapping[str, Across]) -> Family:
    usual = Across.MAX if metric.type in GAUGES else Across.SUM
    samples = tuple(
        Sample(each.name, tuple(each.labels.items()), float(each.value))
        for each in metric.samples
        if not each.name.endswith("_created")
    )
    return Family(
        metric.name, metric.type, metric.documentation, across.get(metric.name, usual), samples
    )


def _merge_families(one: Family, other: Family) -> Family:
    values = {(each.name, each.labels): each.value for each in one.samples}
    combine = _COMBINE[other.across]
    for each in other.samples:
        key = (each.name, each.labels)
        before = values.get(key, math.nan)
        if math.isnan(before):
            values[key] = each.value
        elif not math.isnan(each.value):
            values[key] = combine(before, each.value)
    samples = tuple(Sample(name, labels, value) for (name, labels), value in values.items())
    return msgspec.structs.replace(other, samples=samples)
