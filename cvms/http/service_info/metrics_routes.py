"""/metrics: what a scrape shows, and the values that are read for it."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import structlog
import trio
from msgspec.structs import replace
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from psycopg import IsolationLevel

from cvms.errors import DatabaseUnavailable
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Request, current_request
from cvms.http.framework.response import Response, content
from cvms.http.framework.routing import RouteGroup
from cvms.http.service_info.collectors import EventCounters, register_collectors
from cvms.metrics.exposition import in_slices
from cvms.metrics.snapshot import Family, Snapshot, SnapshotCollector
from cvms.store.analytics import disk_use, event_counters
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

SCRAPE_SECONDS = 2.0
DISK_SECONDS = 60.0
SERIES_AT_ONCE = 100
"""Series that are rendered in one go, in about a millisecond."""
Encode = Callable[[Collector], bytes]
_ODD_VERSION = re.compile(r"version\s*=(?!\s*\d{1,3}(\.\d{1,3}){2}\s*(;|$))", re.ASCII)


def metrics_routes(deps: Dependencies) -> RouteGroup:
    """Register the collectors of one application, and return the route that shows them."""
    counters = register_collectors(deps.metrics, deps.board)
    group = RouteGroup("operation")
    reading, disk = trio.Lock(), _DiskUseReader(deps)

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
                await disk.read_if_due()
        encode, content_type = _encoder(current_request())
        snapshot = await deps.metrics.exposition.read()
        response = content(await _encode(snapshot, encode), content_type)
        response.headers["Vary"] = "Accept"
        return response

    return group


@dataclass(slots=True, eq=False)
class _DiskUseReader:
    """Reads what PostgreSQL has on its disk, which costs more than the rest of a scrape."""

    deps: Dependencies
    _due_at: float = -math.inf

    async def read_if_due(self) -> None:
        """Refresh both gauges, unless that is a minute ago or less."""
        if trio.current_time() < self._due_at:
            return
        try:
            with trio.move_on_after(SCRAPE_SECONDS):
                async with self.deps.database.connection() as conn:
                    use = await disk_use.read(conn)
                self.deps.metrics.disk.database.set(use.database)
                self.deps.metrics.disk.slot_wal.set(use.slot_wal)
        except DatabaseUnavailable:
            log.debug("metrics_not_refreshed")
        self._due_at = trio.current_time() + DISK_SECONDS


async def _encode(snapshot: Snapshot, encode: Encode) -> bytes:
    """Return the text of a snapshot, while other tasks run."""
    end = encode(SnapshotCollector([]))  # OpenMetrics says that nothing is missing
    parts = (part for family in snapshot for part in _parts(family, encode, end))
    return b"".join(await in_slices(parts)) + end


def _parts(family: Family, encode: Encode, end: bytes) -> Iterator[bytes]:
    """Yield the text of a family: what it is, and then its series, some at once."""
    head = encode(SnapshotCollector([replace(family, samples=())])).removesuffix(end)
    yield head
    for start in range(0, len(family.samples), SERIES_AT_ONCE):
        some = replace(family, samples=family.samples[start : start + SERIES_AT_ONCE])
        yield encode(SnapshotCollector([some])).removesuffix(end).removeprefix(head)


def _encoder(request: Request) -> tuple[Encode, str]:
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
