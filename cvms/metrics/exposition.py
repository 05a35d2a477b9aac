"""Exposition of metrics: the values of this process, or of all workers of the service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from time import perf_counter
from typing import TypeVar

import trio
from prometheus_client import CollectorRegistry

from cvms.metrics.snapshot import (
    Across,
    Family,
    Sample,
    Snapshot,
    iterate_families,
    take_snapshot,
)

ALIASES = {
    f"cvms_{name}": name
    for name in (
        "vault_deposits",
        "vault_withdrawals",
        "vault_operations",
        "transaction_submissions",
        "balance_query_duration_seconds",
        "total_value_locked",
    )
}
"""Metrics that also have the name of the service's predecessor, which dashboards use."""

SLICE_SECONDS = 0.002
"""A scrape costs 25 ms and more: other tasks run after each part of it that has taken so long."""

T = TypeVar("T")
Gather = Callable[[], Awaitable[Snapshot]]
"""Returns the values of all workers. Raises Overloaded if they do not come in time."""


class Exposition:
    """The values that a scrape of this process shows."""

    def __init__(
        self, registry: CollectorRegistry, across: dict[str, Across], gather: Gather | None
    ) -> None:
        self._own = partial(take_snapshot, registry, across)
        self._families = partial(iterate_families, registry, across)
        self._gather = gather

    def own(self) -> Snapshot:
        """Return the values of this process."""
        return self._own()

    async def read(self) -> Snapshot:
        """Return the values of the service, under all names. Raises Overloaded."""
        if self._gather is None:
            return _with_aliases(await in_slices(self._families()))
        gathered = await self._gather()
        own = {each.name: each for each in self.own() if each.across is Across.OWN}
        return _with_aliases([own.get(each.name, each) for each in gathered])


async def in_slices(items: Iterable[T]) -> list[T]:
    """Return the items, which take time to make, and let other tasks run in between."""
    made, began = [], perf_counter()
    for item in items:
        made.append(item)
        if perf_counter() - began >= SLICE_SECONDS:
            await trio.lowlevel.checkpoint()
            began = perf_counter()
    return made


def _with_aliases(snapshot: Snapshot) -> Snapshot:
    return [
        *snapshot,
        *(_renamed(each, ALIASES[each.name]) for each in snapshot if each.name in ALIASES),
    ]


def _renamed(family: Family, name: str) -> Family:
    samples = tuple(
        Sample(name + each.name.removeprefix(family.name), each.labels, each.value)
        for each in family.samples
    )
    return Family(name, family.kind, family.text, family.across, samples)
