"""Analytics of all vaults together, from sums that the indexer keeps: nothing is scanned.

Buckets are hours or days in UTC. Holdings follow the vaults' rows, flows and the series follow the
events; the two agree whenever the indexer has caught up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
from quart import Response

from cvms.errors import FieldProblem, InvalidRequest
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body
from cvms.http.framework.response import with_strong_etag
from cvms.http.framework.routing import Route
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

MOST_BUCKETS = 1000
STEPS: Mapping[Bucket, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
DEFAULT_BUCKETS: Mapping[Bucket, int] = {"hour": 24, "day": 30}
# Before any chain of this kind, and as far ahead as dates may be reckoned with.
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)
MOST_DIGITS = len(str(MAX_AMOUNT))

Time = Annotated[datetime, msgspec.Meta(tz=True)]


class RangeQuery(Body, frozen=True):
    """`from` up to before `to`, each widened to whole buckets; without them, the newest ones."""

    since: Time | None = msgspec.field(default=None, name="from")
    until: Time | None = msgspec.field(default=None, name="to")
    bucket: Bucket = "hour"


class SeriesPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What all vaults held at the end of the bucket from `start` on, or hold by now."""

    start: datetime
    tvl: int


class TvlSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One point for each bucket, oldest first; none for buckets that are still to come."""

    bucket: Bucket
    points: list[SeriesPoint]


class FlowBucket(FlowTotals, frozen=True, kw_only=True):
    """What moved in the bucket from `start` on."""

    start: datetime


class FlowSeries(msgspec.Struct, frozen=True, kw_only=True):
    """One entry for each bucket, oldest first; none for buckets that are still to come."""

    bucket: Bucket
    buckets: list[FlowBucket]


class SizeBucket(msgspec.Struct, frozen=True, kw_only=True):
    """The open vaults that hold at least `at_least` and less than `below`, and what they hold."""

    at_least: int
    below: int
    vaults: int
    total: int


class Distribution(msgspec.Struct, frozen=True, kw_only=True):
    """Open vaults by what they hold: nothing, then a bucket for each power of ten."""

    vaults: int
    total: int
    buckets: list[SizeBucket]


async def get_tvl_series(deps: Dependencies, query: RangeQuery) -> Response:
    """The value locked in all vaults at the end of each hour or day, by the ledger of events."""
    async with deps.database.connection() as conn:
        frontier = await cursors.frontier(conn, str(deps.programs.vault))
        since, until = _range(query, frontier.now)
        found = await aggregates.series(conn, since=since, until=until, bucket=query.bucket)
    points = [SeriesPoint(start=each.start, tvl=each.tvl) for each in found]
    return with_strong_etag(TvlSeries(bucket=query.bucket, points=points))


async def get_flow(deps: Dependencies, query: RangeQuery) -> Response:
    """What came in, went out and moved in each hour or day."""
    async with deps.database.connection() as conn:
        frontier = await cursors.frontier(conn, str(deps.programs.vault))
        since, until = _range(query, frontier.now)
        found = await aggregates.flows(conn, since=since, until=until, bucket=query.bucket)
    by_start = {each.start: each for each in found}
    step = STEPS[query.bucket]
    starts = [since + step * number for number in range((until - since) // step)]
    nothing = Flow(since, 0, {})
    buckets = [
        FlowBucket(
            start=start, **msgspec.structs.asdict(flow_totals([by_start.get(start, nothing)]))
        )
        for start in starts
    ]
    return with_strong_etag(FlowSeries(bucket=query.bucket, buckets=buckets))


async def get_distribution(deps: Dependencies) -> Response:
    """How many open vaults hold how much, on a logarithmic scale."""
    async with deps.database.connection() as conn:
        sizes = {each.digits: each for each in await aggregates.sizes(conn)}
    buckets = []
    for digits in range(MOST_DIGITS + 1):
        found = sizes.get(digits)
        buckets.append(
            SizeBucket(
                at_least=10 ** (digits - 1) if digits else 0,
                below=10**digits,
                vaults=found.vaults if found else 0,
                total=found.total if found else 0,
            )
        )
    vaults, total = sum(each.vaults for each in buckets), sum(each.total for each in buckets)
    return with_strong_etag(Distribution(vaults=vaults, total=total, buckets=buckets))


async def get_utilization(deps: Dependencies) -> Response:
    """How much of what the vaults hold is locked, timelocked and out for yield."""
    async with deps.database.connection() as conn:
        return with_strong_etag(utilization_of(await aggregates.holdings(conn)))


async def get_overview(deps: Dependencies) -> Response:
    """The value locked, what it is used for, and what moved in the last day."""
    async with deps.database.connection() as conn:
        return with_strong_etag(await overview.read(conn, str(deps.programs.vault)))


def _range(query: RangeQuery, now: datetime) -> tuple[datetime, datetime]:
    """The bounds of the buckets asked for, none of them in the future. Raises InvalidRequest."""
    step = STEPS[query.bucket]
    for name, time in (("from", query.since), ("to", query.until)):
        if time is not None and not EARLIEST <= time <= LATEST:
            raise _problem(name, f"expected a time from {EARLIEST.year} to {LATEST.year}")
    end = _floor(now, step) + step
    until = end if query.until is None else min(end, _ceiling(query.until, step))
    since = (
        until - step * DEFAULT_BUCKETS[query.bucket]
        if query.since is None
        else _floor(query.since, step)
    )
    if query.since is not None and query.until is not None and query.since > query.until:
        raise _problem("from", "later than `to`")
    if until - since > step * MOST_BUCKETS:
        raise _problem("from", f"more than {MOST_BUCKETS} buckets before the end; ask for parts")
    return since, max(since, until)


def _floor(time: datetime, step: timedelta) -> datetime:
    return time - (time - EARLIEST) % step


def _ceiling(time: datetime, step: timedelta) -> datetime:
    return time + (EARLIEST - time) % step


def _problem(name: str, message: str) -> InvalidRequest:
    return InvalidRequest(
        f"The query is malformed at `{name}`: {message}.", [FieldProblem(name, message)]
    )


ROUTES = tuple(
    Route(
        method="GET",
        rule=f"/api/analytics/{name}",
        handler=view,
        query=query,
        replies={200: reply, 304: None},
        tags=("analytics",),
    )
    for name, view, query, reply in (
        ("tvl-series", get_tvl_series, RangeQuery, TvlSeries),
        ("flow", get_flow, RangeQuery, FlowSeries),
        ("distribution", get_distribution, None, Distribution),
        ("utilization", get_utilization, None, Utilization),
        ("overview", get_overview, None, Overview),
    )
)
