"""The overview of all vaults, for `GET /api/analytics/overview` and `analytics_update`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, timedelta

import msgspec

from cvms.amounts import Amount
from cvms.store.analytics import aggregates
from cvms.store.analytics.aggregates import Flow, Holdings
from cvms.store.index import cursor
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import yield_rates
from cvms.store.vaults.history import EFFECTS, Kind

BASIS_POINTS = 10_000
DAY = timedelta(hours=24)
APY_AGE = timedelta(hours=1)
APY_DIGITS = 6


class FlowTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Moved amounts: `inflow` is deposits, `outflow` all withdrawals, including emergency ones.

    `net` is the growth of the total value locked: inflow - outflow + compounded. Transfers between
    vaults, locks, timelocks and yield positions do not change it. `movements` counts the rows of
    all histories, of which a transfer has two.
    """

    inflow: Amount
    outflow: Amount
    net: Amount
    emergency_withdrawn: Amount
    compounded: Amount
    transferred: Amount
    locked: Amount
    unlocked: Amount
    movements: int


class Utilization(msgspec.Struct, frozen=True, kw_only=True):
    """The balances of all open vaults by use; shares in basis points, rounded down."""

    total: Amount
    available: Amount
    locked: Amount
    timelocked: Amount
    yield_deposited: Amount
    locked_bps: int
    timelocked_bps: int
    yield_bps: int


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """The overview; `last_day` is what moved in this hour and the 23 before it.

    `users` are the owners whose vaults hold something. `avg_apy` is the mean of the yield sources'
    newest rates, a fraction of 1, null if none was read in the last hour. `slot` is up to where
    nothing is missing, null before the first transaction.
    """

    tvl: Amount
    vaults: int
    users: int
    avg_apy: float | None
    utilization: Utilization
    last_day: FlowTotals
    slot: int | None


async def read(conn: Connection, program: str) -> Overview:
    """Return the overview as of now, as consistent as the transaction."""
    frontier = await cursor.frontier(conn, program)
    holdings = await aggregates.holdings(conn)
    hour = frontier.now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    until = hour + timedelta(hours=1)
    apy = await yield_rates.mean_apy(conn, within=APY_AGE)
    moved = await aggregates.flows(conn, since=until - DAY, until=until, bucket="hour")
    return Overview(
        tvl=holdings.total,
        vaults=holdings.vaults,
        users=holdings.funded,
        avg_apy=None if apy is None else round(float(apy), APY_DIGITS),
        utilization=utilization_of(holdings),
        last_day=flow_totals(moved),
        slot=frontier.slot,
    )


def flow_totals(moved: Sequence[Flow]) -> FlowTotals:
    """Return the sums of what moved in all of these buckets."""
    amounts: dict[str, int] = dict.fromkeys(EFFECTS, 0)
    for each in moved:
        for kind, amount in each.amounts.items():
            amounts[kind] += amount
    emergencies = amounts[Kind.EMERGENCY_WITHDRAW]
    return FlowTotals(
        inflow=amounts[Kind.DEPOSIT],
        outflow=amounts[Kind.WITHDRAW] + emergencies,
        net=sum(effect.total * amounts[kind] for kind, effect in EFFECTS.items()),
        emergency_withdrawn=emergencies,
        compounded=amounts[Kind.YIELD_COMPOUND],
        transferred=amounts[Kind.TRANSFER_OUT],
        locked=amounts[Kind.LOCK],
        unlocked=amounts[Kind.UNLOCK],
        movements=sum(each.count for each in moved),
    )


def utilization_of(holdings: Holdings) -> Utilization:
    """Return the balances of the vaults and their shares."""
    amounts = asdict(holdings)
    del amounts["vaults"], amounts["funded"]

    def share(amount: int) -> int:
        return amount * BASIS_POINTS // holdings.total if holdings.total else 0

    return Utilization(
        **amounts,
        locked_bps=share(holdings.locked),
        timelocked_bps=share(holdings.timelocked),
        yield_bps=share(holdings.yield_deposited),
    )
