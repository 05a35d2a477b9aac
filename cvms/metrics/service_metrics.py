"""Metrics of the process itself: its tasks, its role, its build, its log and its alerts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from cvms.metrics.series import Series

LEVELS = ("debug", "info", "warning", "error", "critical")


class TaskMetrics:
    """The supervised tasks."""

    def __init__(self, series: Series) -> None:
        self.restarts = series.counter("task_restarts_total", "Supervised tasks restarted", task=())
        self.run_seconds = series.histogram(
            "task_run_duration_seconds",
            "Time that one run of a task took, if the task works in runs",
            (0.05, 0.5, 5.0, 60.0),
            task=(),
        )

    def timed(self, task: str) -> AbstractContextManager[object]:
        """Record how long a run of the task, which is the block, takes."""
        return self.run_seconds.labels(task).time()


class AlertMetrics:
    """The alerts of the service."""

    def __init__(self, series: Series) -> None:
        self.open = series.gauge(
            "alerts_open",
            "Alerts that are not resolved, by kind and severity",
            kind=(),
            severity=(),
        )
        self._shown: set[tuple[str, str]] = set()
        self.webhook_failing = series.gauge(
            "alert_webhook_failing",
            "Messages to the operators' webhook of one day that failed three times or more",
        )

    def show(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Set the numbers of open alerts by kind and severity; those of all others are 0."""
        for pair in self._shown - counts.keys():
            self.open.labels(*pair).set(0)
        for pair, count in counts.items():
            self.open.labels(*pair).set(count)
        self._shown = set(counts)


class ServiceMetrics:
    """What the process is and does."""

    def __init__(self, series: Series) -> None:
        self.build_info = series.gauge(
            "build_info", "1, labelled with what runs", version=(), revision=()
        )
        self.leader = series.gauge(
            "leader",
            "1 while this replica is the leader, which runs the tasks that must run only once",
        )
        self.log_lines = series.counter(
            "log_lines_total", "Lines written to the log, by level", level=LEVELS
        )
