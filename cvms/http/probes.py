"""Is it alive, is it ready, how is it doing: /health, /ready, /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

import structlog
import trio
from prometheus_client import CONTENT_TYPE_LATEST, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from psycopg import IsolationLevel
from quart import Blueprint, Response

from cvms.errors import DatabaseUnavailable
from cvms.http.body import json_response
from cvms.http.problems import not_ready, problem_response
from cvms.http.services import Services
from cvms.nursery.channels import Board
from cvms.store import totals, vaults

log = structlog.get_logger(__name__)

SCRAPE_SECONDS = 2.0
REPEATABLE_READ = IsolationLevel.REPEATABLE_READ


def routes(services: Services) -> Blueprint:
    blueprint = Blueprint("probes", __name__)
    books = Books()
    services.metrics.registry.register(books)
    blueprint.add_url_rule("/health", "health", health)
    blueprint.add_url_rule("/ready", "ready", partial(ready, services.board))
    blueprint.add_url_rule("/metrics", "metrics", partial(metrics, services, books))
    return blueprint


async def health() -> Response:
    """200 as long as there is somebody to answer."""
    return json_response({"status": "alive"})


async def ready(board: Board) -> Response:
    """200 when every part is well, else 503; each part is named in both."""
    parts = {name: asdict(part) for name, part in board.parts.items()}
    if board.ready:
        return json_response({"status": "ready", "parts": parts})
    return problem_response(not_ready(parts))


async def metrics(services: Services, books: Books) -> Response:
    """The metrics in Prometheus' text format; what the database counts is read from it first."""
    try:
        with trio.move_on_after(SCRAPE_SECONDS):
            async with services.database.transaction(isolation=REPEATABLE_READ) as conn:
                locked = await vaults.tvl(conn)
                books.counts = {
                    kind: count for kind, (count, _) in (await totals.read(conn)).items()
                }
            services.metrics.total_value_locked.set(locked.total)
    except DatabaseUnavailable:
        log.debug("metrics_are_the_last_known")
    return Response(generate_latest(services.metrics.registry), content_type=CONTENT_TYPE_LATEST)


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
