"""Is it alive, is it ready, how is it doing: /health, /ready, /metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial

import msgspec
import structlog
import trio
from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector
from psycopg import IsolationLevel
from quart import Response

from cvms.errors import DatabaseUnavailable
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import not_ready, problem_response
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Route
from cvms.nursery.channels.status_board import ComponentStatus, StatusBoard
from cvms.store.analytics import event_counters
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

SCRAPE_SECONDS = 2.0
TAGS = ("operation",)
REPEATABLE_READ = IsolationLevel.REPEATABLE_READ


class Alive(msgspec.Struct, frozen=True):
    status: str = "alive"


class Ready(msgspec.Struct, frozen=True):
    """Every part by name, and how it is."""

    parts: Mapping[str, ComponentStatus]
    status: str = "ready"


def routes(deps: Dependencies) -> tuple[Route, ...]:
    books = Books()
    deps.metrics.registry.register(books)
    deps.metrics.registry.register(Tasks(deps.board))
    return (
        Route(method="GET", rule="/health", handler=health, replies={200: Alive}, tags=TAGS),
        Route(method="GET", rule="/ready", handler=ready, replies={200: Ready}, tags=TAGS),
        Route(
            method="GET",
            rule="/metrics",
            handler=partial(metrics, books=books),
            replies={200: None},
            tags=TAGS,
        ),
    )


async def health(deps: Dependencies) -> Reply:
    """200 as long as there is somebody to answer."""
    return Reply(Alive())


async def ready(deps: Dependencies) -> Reply | Response:
    """200 when every part is well, else 503; each part is named in both."""
    board = deps.board
    if board.ready:
        return Reply(Ready(board.components))
    return problem_response(
        not_ready({name: asdict(part) for name, part in board.components.items()})
    )


async def metrics(deps: Dependencies, *, books: Books) -> Response:
    """The metrics in Prometheus' text format; what the database counts is read from it first."""
    try:
        with trio.move_on_after(SCRAPE_SECONDS):
            async with deps.database.transaction(isolation=REPEATABLE_READ) as conn:
                locked = await vaults.tvl(conn)
                books.counts = {
                    kind: count for kind, (count, _) in (await event_counters.read(conn)).items()
                }
            deps.metrics.total_value_locked.set(locked.total)
    except DatabaseUnavailable:
        log.debug("metrics_are_the_last_known")
    return Response(generate_latest(deps.metrics.registry), content_type=CONTENT_TYPE_LATEST)


class Books(Collector):
    """Counters that live in the database, so that they agree with the chain after a restart.

    Shows the last values read; nothing before the first, since zero would be false.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] | None = None

    def collect(self) -> Iterator[Metric]:
        if self.counts is not None:
            for kind, name, text in (
                ("deposit", "vault_deposits_total", "Deposits that the chain has confirmed"),
                ("withdraw", "vault_withdrawals_total", "Withdrawals that the chain has confirmed"),
            ):
                yield CounterMetricFamily(name, text, value=self.counts.get(kind, 0))


class Tasks(Collector):
    """How the supervised tasks are, as of the scrape."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "task_up", "1 while a task is well and at work, 0 while it is not", labels=["task"]
        )
        success = GaugeMetricFamily(
            "task_last_success_seconds",
            "Unix time of a task's last round that went well",
            labels=["task"],
        )
        troubles = self._board.liveness_faults()
        for name, task in self._board.tasks.items():
            well = task.state in {"running", "finished"} and name not in troubles
            up.add_metric([name], int(well))
            if task.last_success is not None:
                success.add_metric([name], task.last_success.timestamp())
        yield up
        yield success

    def describe(self) -> Iterator[Metric]:
        """Nothing: which tasks there are is known only later."""
        return iter(())
