"""Metrics that are computed at the time of a scrape: of events, tasks, components and checks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from cvms.metrics import Metrics
from cvms.metrics.snapshot import Across
from cvms.nursery.channels.check_progress import CheckProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.vaults.history import Kind

EVENTS = (
    (Kind.DEPOSIT, "cvms_vault_deposits", "Deposits"),
    (Kind.WITHDRAW, "cvms_vault_withdrawals", "Withdrawals"),
    (Kind.LOCK, "cvms_vault_locks", "Locks of collateral"),
    (Kind.UNLOCK, "cvms_vault_unlocks", "Unlocks of collateral"),
)
COMPONENT_UP = "cvms_component_up"
TASKS = "tasks"
"""The component that is down while a task crashes again and again or makes no progress."""


def register_collectors(metrics: Metrics, board: StatusBoard) -> EventCounters:
    """Register all of them, and return the one whose values the database has."""
    counters = EventCounters()
    for each in (
        counters,
        TaskGauges(board),
        ComponentGauges(board),
        CheckGauges(board.checks),
    ):
        metrics.registry.register(each)
    # Each process reads the same counters.
    metrics.series.across |= {name: Across.MAX for _, name, _ in EVENTS}
    metrics.series.across[COMPONENT_UP] = Across.MIN
    return counters


class EventCounters(Collector):
    """Counters kept in the database, so that they agree with the chain after a restart.

    Exports the values read last. Exports nothing before the first read, since zero would be wrong.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] | None = None

    def collect(self) -> Iterator[Metric]:
        if self.counts is not None:
            for kind, name, noun in EVENTS:
                text = f"{noun} that the chain has confirmed"
                yield CounterMetricFamily(name, text, value=self.counts.get(kind, 0))


class TaskGauges(Collector):
    """The state of the supervised tasks at the time of the scrape."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "cvms_task_up", "1 while a task is healthy and running, else 0", labels=["task"]
        )
        success = GaugeMetricFamily(
            "cvms_task_last_success_seconds",
            "Unix time of a task's last successful run",
            labels=["task"],
        )
        faults = self._board.liveness_faults()
        for name, task in self._board.tasks.items():
            healthy = task.state in {"running", "finished"} and name not in faults
            up.add_metric([name], int(healthy))
            if task.last_success is not None:
                success.add_metric([name], task.last_success.timestamp())
        yield up
        yield success

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the tasks are not known yet at registration."""
        return iter(())


class ComponentGauges(Collector):
    """The parts of /ready at the time of the scrape; all faults of tasks are one part."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            COMPONENT_UP,
            "1 while a part of /ready is ok; tasks: none is stuck",
            labels=["component"],
        )
        faults = {f"task {name}" for name in self._board.liveness_faults()}
        for name, status in self._board.components.items():
            if name not in faults:
                up.add_metric([name], int(status.ok))
        up.add_metric([TASKS], int(not faults))
        yield up

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the components are not known yet at registration."""
        return iter(())


class CheckGauges(Collector):
    """The ages of the reconciler's checks at the time of the scrape, if this replica runs it."""

    def __init__(self, checks: CheckProgress) -> None:
        self._checks = checks

    def collect(self) -> Iterator[Metric]:
        age = GaugeMetricFamily(
            "cvms_reconciliation_check_age_seconds",
            "Seconds since a kind of check of the database against the chain completed",
            labels=["check"],
        )
        for name, seconds in self._checks.ages().items():
            age.add_metric([name], seconds)
        yield age

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the checks are not known yet at registration."""
        return iter(())
