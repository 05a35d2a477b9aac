"""/metrics: what a scrape shows, and the values that are read for it."""

from __future__ import annotations

import re
from collections.abc import Callable

import structlog
import trio
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from psycopg import IsolationLevel

from cvms.errors import DatabaseUnavailable
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Request, current_request
from cvms.http.framework.response import Response, content
from cvms.http.framework.routing import RouteGroup
from cvms.http.service_info.collectors import EventCounters, register_collectors
from cvms.metrics.snapshot import SnapshotCollector
from cvms.store.analytics import event_counters
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

SCRAPE_SECONDS = 2.0
_ODD_VERSION = re.compile(r"version\s*=(?!\s*\d{1,3}(\.\d{1,3}){2}\s*(;|$))", re.ASCII)


def metrics_routes(deps: Dependencies) -> RouteGroup:
    """Register the collectors of one application, and return the route that shows them."""
    counters = register_collectors(deps.metrics, deps.board)
    group = RouteGroup("operation")
    reading = trio.Lock()

    @group.get("/metrics", replies={200: None})
    async def get_metrics(deps: Dependencies) -> Response:
        """Get the metrics in Prometheus' text format.

        They are in OpenMetrics if `Accept` asks for that. Where several workers share the port,
        they are those of all workers.
        Counters and the total value locked are read from the database first. If it does not answer
        within two seconds, or another scrape is reading them, they have the values of the last
        scrape.
        """
        if not reading.locked():  # scrapes have no rate limit
            async with reading:
                await _read_database(deps, counters)
        encode, content_type = _encoder(current_request())
        snapshot = await deps.metrics.exposition.read()
        response = content(encode(SnapshotCollector(snapshot)), content_type)
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
            deps.metrics.vaults.total_value_locked.set(locked.total)
            deps.metrics.vaults.active.set(locked.vaults)
    except DatabaseUnavailable:
        log.debug("metrics_not_refreshed")
