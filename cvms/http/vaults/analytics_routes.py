"""Analytics of all vaults together, read from sums that the indexer maintains.

Buckets are hours or days in UTC. Holdings come from the vaults' rows, flows and series from the
events; the two agree whenever the indexer has caught up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Protocol, TypeVar

import msgspec

from cvms.amounts import Amount
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body, field_error
from cvms.http.framework.response import Response, with_strong_etag
from cvms.http.framework.routing import RouteGroup
from cvms.http.framework.schemas import reply_of
from cvms.http.vaults.indexed_reads import read_indexed
from cvms.store.analytics import aggregates, overview
from cvms.store.analytics.aggregates import Bucket, Flow
from cvms.store.analytics.overview import (
    FlowTotals,
    Overview,
    Utilization,
    flow_totals,
    utilization_of,
)
from cvms.store.index import cursor as cursors
from cvms.store.postgres.driver.connection import Connection

MAX_BUCKETS = 1000
STEPS: Mapping[Bucket, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
DEFAULT_BUCKETS: Mapping[Bucket, int] = {"hour": 24, "day": 30}
# Before the first block of any such chain, and far enough from the largest date for arithmetic.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)
MAX_DIGITS = len(str(MAX_AMOUNT))

Time = Annotated[datetime, msgspec.Meta(tz=True)]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ROUTES = RouteGroup("analytics", indexed=True)


class RangeReader(Protocol[T_co]):
    """Reads what moved in the buckets of a range."""

    async def __call__(
        self, conn: Connection, *, since: datetime, until: datetime, bucket: Bucket
    ) -> T_co: ...


class RangeQuery(Body, frozen=True):
    """A range from `from` to before `to`, widened to whole buckets; by default the newest ones."""

    since: Time | None = msgspec.field(default=None, name="from")
    until: Time | None = msgspec.field(default=None, name="to")
    bucket: Bucket = "hour"


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The value locked at the end of the bucket that begins at `start`, or now if that is later."""

    start: datetime
    tvl: Amount


class TvlSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One point for each bucket, oldest first, none for buckets in the future."""

    bucket: Bucket
    points: list[SeriesPoint]


class FlowBucket(FlowTotals, frozen=True, kw_only=True):
    """The flows in the bucket that begins at `start`."""

    start: datetime


class FlowSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One entry for each bucket, oldest first, none for buckets in the future."""

    bucket: Bucket
    buckets: list[FlowBucket]


class SizeBucket(msgspec.Struct, frozen=True, kw_only=True):
    """The open vaults whose total is at least `at_least` and less than `below`, and their sum.

    The last bucket ends with the largest amount, which is in it.
    """

    at_least: Amount
    below: Amount
    vaults: int
    total: Amount


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Open vaults by total: a bucket for empty vaults, then one for each power of ten."""

    vaults: int
    total: Amount
    buckets: list[SizeBucket]


@ROUTES.get("/api/analytics/tvl-series", replies={200: TvlSeries, 304: None})
async def get_tvl_series(deps: Dependencies, query: RangeQuery) -> Response:
    """Get the total value locked over time.

    Returns the value at the end of each hour or day, according to the events. At most 1,000
    buckets; by default the last 24 hours or 30 days.
    """
    _, _, found = await _read_range(deps, query, aggregates.series)
    points = [reply_of(each, SeriesPoint) for each in found]
    return with_strong_etag(TvlSeries(bucket=query.bucket, points=points))


@ROUTES.get("/api/analytics/flow", replies={200: FlowSeries, 304: None})
async def get_flow(deps: Dependencies, query: RangeQuery) -> Response:
    """Get the flows over time.

    Returns deposits, withdrawals and other movements in each hour or day. At most 1,000 buckets;
    by default the last 24 hours or 30 days.
    """
    since, until, found = await _read_range(deps, query, aggregates.flows)
    by_start = {each.start: each for each in found}
    step = STEPS[query.bucket]
    starts = [since + step * number for number in range((until - since) // step)]
    empty = Flow(since, 0, {})
    buckets = [
        FlowBucket(start=start, **msgspec.structs.asdict(flow_totals([by_start.get(start, empty)])))
        for start in starts
    ]
    return with_strong_etag(FlowSeries(bucket=query.bucket, buckets=buckets))


@ROUTES.get("/api/analytics/distribution", replies={200: Distribution, 304: None})
async def get_distribution(deps: Dependencies) -> Response:
    """Get the distribution of vaults by size.

    Returns the number of open vaults and their sum for each power of ten.
    """
    sizes = {each.digits: each for each in await read_indexed(deps, aggregates.sizes)}
    buckets = [
        SizeBucket(
            at_least=10 ** (digits - 1) if digits else 0,
            below=min(10**digits, MAX_AMOUNT),
            vaults=sizes[digits].vaults if digits in sizes else 0,
            total=sizes[digits].total if digits in sizes else 0,
        )
        for digits in range(MAX_DIGITS + 1)
    ]
    vaults, total = sum(each.vaults for each in buckets), sum(each.total for each in buckets)
    return with_strong_etag(Distribution(vaults=vaults, total=total, buckets=buckets))


@ROUTES.get("/api/analytics/utilization", replies={200: Utilization, 304: None})
async def get_utilization(deps: Dependencies) -> Response:
    """Get the utilization of all vaults.

    Returns how much of the total is available, locked, timelocked and deposited for yield.
    """
    return with_strong_etag(utilization_of(await read_indexed(deps, aggregates.holdings)))


@ROUTES.get("/api/analytics/overview", replies={200: Overview, 304: None})
async def get_overview(deps: Dependencies) -> Response:
    """Get an overview of all vaults.

    Returns the total value locked, its utilization, and the flows of the last 24 hours.
    """
    read = partial(overview.read, program=str(deps.programs.vault))
    return with_strong_etag(await read_indexed(deps, read))


async def _read_range(
    deps: Dependencies, query: RangeQuery, read: RangeReader[T]
) -> tuple[datetime, datetime, T]:
    """Return the bounds of the requested buckets, and what `read` finds there."""

    async def read_from(conn: Connection) -> tuple[datetime, datetime, T]:
        frontier = await cursors.frontier(conn, str(deps.programs.vault))
        since, until = _range(query, frontier.now)
        found = await read(conn, since=since, until=until, bucket=query.bucket)
        return since, until, found

    return await read_indexed(deps, read_from)


def _range(query: RangeQuery, now: datetime) -> tuple[datetime, datetime]:
    """Return the bounds of the requested buckets, none of them in the future.

    Raises InvalidRequest.
    """
    step = STEPS[query.bucket]
    for name, time in (("from", query.since), ("to", query.until)):
        if time is not None and not EARLIEST <= time <= LATEST:
            message = f"expected a time from {EARLIEST.year} to {LATEST.year}"
            raise field_error("The query", name, message)
    end = _floor(now, step) + step
    until = end if query.until is None else min(end, _ceiling(query.until, step))
    since = until - step * DEFAULT_BUCKETS[query.bucket]
    if query.since is not None:
        since = _floor(query.since, step)
        if query.until is not None and query.since > query.until:
            raise field_error("The query", "from", "later than `to`")
    if until - since > step * MAX_BUCKETS:
        message = f"more than {MAX_BUCKETS} buckets before the end; request a shorter range"
        raise field_error("The query", "from", message)
    return since, max(since, until)


def _floor(time: datetime, step: timedelta) -> datetime:
    return time - (time - EARLIEST) % step


def _ceiling(time: datetime, step: timedelta) -> datetime:
    return time + (EARLIEST - time) % step
