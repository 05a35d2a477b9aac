"""Probes of the service: /health, /ready, /ready/traffic and /metrics."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import msgspec
import structlog
import trio
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from psycopg import IsolationLevel

from cvms.errors import DatabaseUnavailable
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import no_traffic, not_ready, problem_response
from cvms.http.framework.request import Request, current_request
from cvms.http.framework.response import Reply, Response, content
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.nursery.channels.check_progress import CheckProgress, CheckStatus
from cvms.nursery.channels.status_board import ComponentStatus, StatusBoard
from cvms.store.analytics import event_counters
from cvms.store.vaults import vaults
from cvms.store.vaults.history import Kind

log = structlog.get_logger(__name__)

SCRAPE_SECONDS = 2.0
_ODD_VERSION = re.compile(r"version\s*=(?!\s*\d{1,3}(\.\d{1,3}){2}\s*(;|$))", re.ASCII)

ROUTES = RouteGroup("operation")


class Alive(msgspec.Struct, frozen=True):
    status: str = "ok"


class Ready(msgspec.Struct, frozen=True):
    """The state of every component, and of every kind of check if the reconciler runs here.

    `kind` is `ok` or a kind of trouble, such as `refused`. `detail` is the same in words; for
    administrators it also names hosts and numbers.
    `warnings` names what needs a person, and no other replica; administrators also see why.
    """

    parts: Mapping[str, ComponentStatus]
    checks: Mapping[str, CheckStatus]
    warnings: Mapping[str, str]
    status: str = "ready"


class TakesTraffic(msgspec.Struct, frozen=True):
    status: str = "ready"


@ROUTES.get("/health", replies={200: Alive})
async def get_health(deps: Dependencies) -> Reply:
    """Check that the process answers requests."""
    return Reply(Alive())


@ROUTES.get("/ready", replies={200: Ready}, auth=Auth.OPTIONAL_ADMIN)
async def get_readiness(
    deps: Dependencies, administrator: Administrator | None
) -> Reply | Response:
    """Check that the service is ready.

    200 if every component is ok, else 503 with the code `not_ready`; both list every component
    with its kind of trouble. Administrators also see hosts and reasons. The kind of `deployment` is
    `no_program`, `no_authority`, `no_mint`, `token_2022` or `wrong_mint` while the chain lacks it.
    A check of the database against the chain that is not ok needs a person, but no other replica.
    """
    components, checks = deps.board.components, deps.board.checks.statuses()
    warnings: Mapping[str, str] = deps.board.warnings
    if administrator is None:
        warnings = dict.fromkeys(warnings, "needs a person")
        components = {name: each.without_detail() for name, each in components.items()}
        checks = {name: each.without_detail() for name, each in checks.items()}
    if deps.board.ready:
        return Reply(Ready(components, checks, warnings))
    problem = not_ready(_plain(components), _plain(checks), warnings)
    return problem_response(problem)


@ROUTES.get("/ready/traffic", replies={200: TakesTraffic})
async def get_traffic_readiness(deps: Dependencies) -> Reply | Response:
    """Check that a load balancer may send requests to this process.

    200 while it can answer reads, whatever the state of the chain, the indexer or the operator's
    key: what needs those is refused by itself. 503 with the code `not_ready` while the database
    answers no reads, and once the process has begun to end.
    """
    trouble = deps.board.traffic_trouble
    if trouble is None:
        return Reply(TakesTraffic())
    return problem_response(no_traffic(trouble))


def _plain(statuses: Mapping[str, ComponentStatus] | Mapping[str, CheckStatus]) -> dict[str, Any]:
    return {name: asdict(each) for name, each in statuses.items()}


def metrics_routes(deps: Dependencies) -> RouteGroup:
    """Register the collectors of one application, and return the route that shows them."""
    counters = EventCounters()
    deps.metrics.registry.register(counters)
    deps.metrics.registry.register(TaskGauges(deps.board))
    deps.metrics.registry.register(CheckGauges(deps.board.checks))
    group = RouteGroup("operation")
    reading = trio.Lock()

    @group.get("/metrics", replies={200: None})
    async def get_metrics(deps: Dependencies) -> Response:
        """Get the metrics in Prometheus' text format.

        They are in OpenMetrics if `Accept` asks for that.
        Counters and the total value locked are read from the database first. If it does not answer
        within two seconds, or another scrape is reading them, they have the values of the last
        scrape.
        """
        if not reading.locked():  # scrapes have no rate limit
            async with reading:
                await _read_database(deps, counters)
        encode, content_type = _encoder(current_request())
        response = content(encode(deps.metrics.registry), content_type)
        response.headers["Vary"] = "Accept"
        return response

    return group


def _encoder(request: Request) -> tuple[Callable[[Collector], bytes], str]:
    """Return the encoder of the first format in `Accept` that the library knows, and its type.

    The library compares versions without looking, and returns them in the type.
    """
    ranges = ",".join(request.headers.get("accept", ())).split(",")
    known = [each for each in ranges if not _ODD_VERSION.search(each)]
    return choose_encoder(",".join(known))


async def _read_database(deps: Dependencies, counters: EventCounters) -> None:
    """Refresh what the database counts, unless it does not answer in time."""
    try:
        with trio.move_on_after(SCRAPE_SECONDS):
            async with deps.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
                locked = await vaults.tvl(conn)
                counts = await event_counters.read(conn)
            counters.counts = {kind: count for kind, (count, _) in counts.items()}
            deps.metrics.total_value_locked.set(locked.total)
            deps.metrics.active_vaults.set(locked.vaults)
    except DatabaseUnavailable:
        log.debug("metrics_not_refreshed")


class EventCounters(Collector):
    """Counters kept in the database, so that they agree with the chain after a restart.

    Exports the values read last. Exports nothing before the first read, since zero would be wrong.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] | None = None

    def collect(self) -> Iterator[Metric]:
        if self.counts is not None:
            for kind, name, noun in (
                (Kind.DEPOSIT, "vault_deposits_total", "Deposits"),
                (Kind.WITHDRAW, "vault_withdrawals_total", "Withdrawals"),
                (Kind.LOCK, "vault_locks_total", "Locks of collateral"),
                (Kind.UNLOCK, "vault_unlocks_total", "Unlocks of collateral"),
            ):
                text = f"{noun} that the chain has confirmed"
                yield CounterMetricFamily(name, text, value=self.counts.get(kind, 0))


class TaskGauges(Collector):
    """The state of the supervised tasks at the time of the scrape."""

    def __init__(self, board: StatusBoard) -> None:
        self._board = board

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "task_up", "1 while a task is healthy and running, else 0", labels=["task"]
        )
        success = GaugeMetricFamily(
            "task_last_success_seconds",
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


class CheckGauges(Collector):
    """The ages of the reconciler's checks at the time of the scrape, if this replica runs it."""

    def __init__(self, checks: CheckProgress) -> None:
        self._checks = checks

    def collect(self) -> Iterator[Metric]:
        age = GaugeMetricFamily(
            "reconciliation_check_age_seconds",
            "Seconds since a kind of check of the database against the chain completed",
            labels=["check"],
        )
        for name, seconds in self._checks.ages().items():
            age.add_metric([name], seconds)
        yield age

    def describe(self) -> Iterator[Metric]:
        """Return nothing: the checks are not known yet at registration."""
        return iter(())
