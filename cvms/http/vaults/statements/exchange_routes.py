"""The statement of the exchange: all vaults together, and every line of all vaults as CSV."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec.structs import asdict
from psycopg import IsolationLevel

from cvms.amounts import Amount
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, field_error
from cvms.http.framework.response import Response, with_strong_etag
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.framework.schemas import reply_of
from cvms.http.vaults.statements.csv_stream import Cell, csv_lines, stream_csv
from cvms.http.vaults.statements.periods import CSV, EARLIEST, LATEST, MomentText, parse_period
from cvms.store.analytics import exchange_statement
from cvms.store.analytics.aggregates import Bucket
from cvms.store.analytics.exchange_statement import Bound, NotKept, Period
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import statements
from cvms.store.vaults.history import Balances, HistoryRow
from cvms.store.vaults.statements import Interval

MAX_PERIODS = 400
DEFAULT_PERIODS = 30
CHUNK_POINTS = 1000
STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
HEADER = (
    *("slot", "time", "owner", "vault", "kind", "amount", "balance_after"),
    *("signature", "instruction", "event"),
)

Time = Annotated[datetime, msgspec.Meta(tz=True)]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


class ExchangeQuery(Body, frozen=True):
    """Full hours or midnights in UTC, from `from` to before `to`; by default the last 30."""

    since: Time | None = msgspec.field(default=None, name="from")
    until: Time | None = msgspec.field(default=None, name="to")
    bucket: Bucket = "day"


class LinesQuery(Body, frozen=True):
    since: MomentText | None = msgspec.field(default=None, name="from")
    until: MomentText | None = msgspec.field(default=None, name="to")


class AllBalances(Balances, frozen=True, kw_only=True):
    """What all vaults held at `at`, which is the end of `slot`; `vaults` of them held anything.

    `slot` is null before the first movement.
    """

    at: datetime
    slot: int | None
    vaults: int


class ExchangeFlow(msgspec.Struct, frozen=True, kw_only=True):
    """The number and the sum of the movements of a kind."""

    kind: str
    count: int
    amount: Amount


class ExchangePeriod(msgspec.Struct, frozen=True, kw_only=True):
    """`opening`, `change` and `difference` make `closing`; `change` is what the flows change.

    The `difference` is zero, unless a line or an account was corrected after its hour was over.
    """

    opening: AllBalances
    closing: AllBalances
    flows: list[ExchangeFlow]
    change: Balances
    difference: Balances


class ExchangeStatement(msgspec.Struct, frozen=True, kw_only=True):
    """The whole, and each hour or day. It is `pending` if the end of it is not known yet."""

    bucket: Bucket
    status: Literal["complete", "pending"]
    whole: ExchangePeriod | None
    periods: list[ExchangePeriod]


@ROUTES.get("/api/admin/statement", replies={200: ExchangeStatement, 304: None})
async def get_exchange_statement(
    deps: Dependencies,
    query: ExchangeQuery,
    administrator: Administrator,
) -> Response:
    """Get the statement of all vaults together.

    Returns what they held at the beginning and at the end, what moved by kind, and the same for
    each day or hour (`bucket`). `from` and `to` are midnights or full hours in UTC. At most 400
    days or hours; hours are kept for 90 days. `whole` is null if no period is over yet.
    """
    async with deps.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
        since, until, complete = _range(query, await exchange_statement.last_hour(conn))
        found: list[Period] = []
        if since < until:
            found = await _periods(conn, since, until, query.bucket)
    return with_strong_etag(
        ExchangeStatement(
            bucket=query.bucket,
            status="complete" if complete else "pending",
            whole=_period(exchange_statement.together(found)) if found else None,
            periods=list(map(_period, found)),
        )
    )


@ROUTES.get("/api/admin/statement/lines", replies={200: None}, media_type=CSV)
async def get_exchange_lines(
    deps: Dependencies,
    query: LinesQuery,
    administrator: Administrator,
) -> Response:
    """Get every line of all vaults as CSV.

    In the order in which they happened, with the owner. `from` and `to` are as for a vault's
    statement. Only what is final counts. The last row has the kind `end`, or `end_so_far` if `to`
    is not final yet; a file without it is not whole.
    """
    since, until = parse_period(query.since, query.until)

    async def texts(conn: Connection) -> AsyncGenerator[str, None]:
        frontier = await statements.final_frontier(conn, str(deps.programs.vault))
        slots = await statements.interval(conn, frontier, since=since, until=until)
        yield csv_lines([HEADER])
        first = slots.first
        while first < slots.end:
            rest = Interval(first, slots.end, slots.complete)
            end = await exchange_statement.chunk_end(conn, rest, size=CHUNK_POINTS)
            if found := await exchange_statement.lines(conn, first, end):
                yield csv_lines(map(_row, found))
            first = end
        kind = "end" if slots.complete else "end_so_far"
        last = slots.end - 1 if slots.end else None
        yield csv_lines([(last, None, None, None, kind, *[None] * (len(HEADER) - 5))])

    return await stream_csv(deps, texts, name="statement")


async def _periods(
    conn: Connection, since: datetime, until: datetime, bucket: Bucket
) -> list[Period]:
    try:
        return await exchange_statement.periods(conn, since=since, until=until, bucket=bucket)
    except NotKept as error:
        raise field_error("The query", "from", f"{error}; use `bucket=day`") from None


def _range(query: ExchangeQuery, last_hour: datetime | None) -> tuple[datetime, datetime, bool]:
    """Return the bounds of the statement, and whether it reaches the end that is asked for.

    Raises InvalidRequest.
    """
    step = STEPS[query.bucket]
    for name, time in (("from", query.since), ("to", query.until)):
        if time is None:
            continue
        if not EARLIEST <= time <= LATEST:
            message = f"expected a time from {EARLIEST.year} to {LATEST.year}"
            raise field_error("The query", name, message)
        if (time - EARLIEST) % step:
            message = "expected a full hour" if query.bucket == "hour" else "expected a midnight"
            raise field_error("The query", name, f"{message} in UTC")
    if query.since is not None and query.until is not None and query.since > query.until:
        raise field_error("The query", "from", "later than `to`")
    last = EARLIEST if last_hour is None else last_hour - (last_hour - EARLIEST) % step
    until = last if query.until is None else min(query.until, last)
    since = max(until - step * DEFAULT_PERIODS, EARLIEST) if query.since is None else query.since
    if until - since > step * MAX_PERIODS:
        message = f"more than {MAX_PERIODS} periods before the end; request a shorter range"
        raise field_error("The query", "from", message)
    return since, until, query.until is None or until == query.until


def _period(period: Period) -> ExchangePeriod:
    return ExchangePeriod(
        opening=_balances(period.opening),
        closing=_balances(period.closing),
        flows=[reply_of(flow, ExchangeFlow) for flow in period.flows],
        change=period.change,
        difference=period.difference,
    )


def _balances(bound: Bound) -> AllBalances:
    return AllBalances(at=bound.at, slot=bound.slot, vaults=bound.vaults, **asdict(bound.balances))


def _row(line: HistoryRow) -> Iterable[Cell]:
    return (
        line.slot,
        line.block_time,
        line.owner,
        line.vault,
        line.kind,
        line.amount,
        line.balance_after,
        line.signature,
        line.instruction_index,
        line.ordinal,
    )
