"""The route of the figures that the console draws over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from cvms.amounts import Amount
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.store.analytics import aggregates
from cvms.store.analytics.aggregates import Flow
from cvms.store.index import cursor as cursors
from cvms.store.submissions import confirmation_times
from cvms.store.vaults.history import Kind

MAX_POINTS = 200
MAX_HOURS = 720
HOUR = timedelta(hours=1)

Hours = Annotated[int, msgspec.Meta(ge=1, le=MAX_HOURS)]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


class ChartsQuery(Body, frozen=True):
    hours: Hours = 24


class ChartPoint(msgspec.Struct, frozen=True, kw_only=True):
    """What moved in the step that begins at `at`, and the total at its end.

    `confirmation_seconds_p95` is of the newest submissions of the step, from signature to confirmed
    block; null if none was confirmed.
    """

    at: datetime
    deposits: Amount
    withdrawals: Amount
    total_value_locked: Amount
    confirmation_seconds_p95: float | None


class Charts(msgspec.Struct, frozen=True, kw_only=True):
    """Points in the order of time, at most 200, each of `step_seconds`; the last has begun."""

    step_seconds: int
    points: list[ChartPoint]


@dataclass(frozen=True, slots=True)
class _Steps:
    """Steps of whole hours in [since, until)."""

    since: datetime
    until: datetime
    step: timedelta

    @classmethod
    def until_now(cls, now: datetime, hours: int) -> _Steps:
        """Return at most MAX_POINTS steps, which cover the last `hours` and the current one."""
        step = HOUR * -(-hours // MAX_POINTS)
        until = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
        return cls(until - step * -(-HOUR * hours // step), until, step)

    def start_of(self, time: datetime) -> datetime:
        return self.since + (time - self.since) // self.step * self.step


@ROUTES.get("/api/admin/charts", replies={200: Charts})
async def get_charts(deps: Dependencies, query: ChartsQuery, administrator: Administrator) -> Reply:
    """Get the figures of the last hours.

    Returns what was deposited and withdrawn, the total value locked and how long submissions took,
    of the last `hours` (1 to 720), in steps of one to four hours.
    """
    async with deps.database.connection() as conn:
        frontier = await cursors.frontier(conn, str(deps.programs.vault))
        steps = _Steps.until_now(frontier.now, query.hours)
        period = {"since": steps.since, "until": steps.until}
        totals = await aggregates.series(conn, **period, bucket="hour")
        flows = await aggregates.flows(conn, **period, bucket="hour")
        times = await confirmation_times.percentiles(conn, **period, step=steps.step)
    # Of several hours in one step the last counts.
    total = {steps.start_of(each.start): each.tvl for each in totals}
    deposits = _moved(flows, steps, Kind.DEPOSIT)
    withdrawals = _moved(flows, steps, Kind.WITHDRAW, Kind.EMERGENCY_WITHDRAW)
    points = [
        ChartPoint(
            at=each.start,
            deposits=deposits.get(each.start, 0),
            withdrawals=withdrawals.get(each.start, 0),
            total_value_locked=total[each.start],
            confirmation_seconds_p95=None if each.p95 is None else round(each.p95, 3),
        )
        for each in times
    ]
    return Reply(Charts(step_seconds=int(steps.step.total_seconds()), points=points))


def _moved(flows: Sequence[Flow], steps: _Steps, *kinds: Kind) -> Mapping[datetime, int]:
    """Return what moved in each step."""
    moved: dict[datetime, int] = {}
    for each in flows:
        start = steps.start_of(each.start)
        moved[start] = moved.get(start, 0) + sum(each.amounts.get(kind, 0) for kind in kinds)
    return moved
