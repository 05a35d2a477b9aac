"""What each GET route asks the database, for other owners each time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from bench.vaults.books import Books
from cvms.store.alerts import alerts
from cvms.store.analytics import aggregates, event_counters, exchange_statement, overview
from cvms.store.messaging import outbox, webhook_deliveries
from cvms.store.postgres.driver.connection import Connection
from cvms.store.reconciliation import reconciliation_log
from cvms.store.security import audit_log
from cvms.store.submissions import multisig_proposals, submissions
from cvms.store.vaults import (
    balance_history,
    history,
    listing,
    open_timelocks,
    statements,
    vaults,
    yield_policies,
)
from cvms.store.vaults.statements import Interval

Ask = Callable[[Connection], Awaitable[Any]]
NOBODY = UUID(int=0)


def reads_of(planned: Books, number: int) -> dict[str, Ask]:
    """Return the reads of each route, about one vault or a place in the middle of a list."""
    owner, vault = planned.addresses(number)
    program = str(planned.programs.vault)
    middle = (planned.slot(0) + planned.head) // 2
    return {
        "balance, state, config, limits": lambda conn: vaults.get(conn, owner),
        "balance at a past slot": lambda conn: balance_history.at(conn, owner, middle),
        "balance before the first slot": lambda conn: balance_history.first_slot(conn, owner),
        "statement of half the history": partial(_statement, planned, owner, middle),
        "history": lambda conn: history.page(conn, owner, limit=100),
        "history of a kind": lambda conn: history.page(conn, owner, limit=100, kind="withdraw"),
        "timelocks": lambda conn: open_timelocks.open_timelocks(conn, vault),
        "yield policies": lambda conn: yield_policies.of_owner(conn, owner),
        "tvl, and what /metrics asks": _metrics,
        "tvl-series, 90 days": partial(_series, planned),
        "flow, 90 days": partial(_flows, planned),
        "distribution": aggregates.sizes,
        "utilization": aggregates.holdings,
        "overview": lambda conn: overview.read(conn, program),
        **_listings(number),
        "a transaction's state": lambda conn: submissions.get_by_signature(conn, owner),
        "a proposal": lambda conn: multisig_proposals.get(conn, NOBODY),
        "WebSocket: resume a topic": lambda conn: _resume(conn, "balance_update"),
        "admin: 1,000 lines of all vaults": partial(_exchange_lines, middle),
        "admin: audit": lambda conn: audit_log.page(conn, limit=100),
        "admin: audit of an owner": lambda conn: audit_log.page(conn, limit=100, owner=owner),
        "admin: differences": lambda conn: reconciliation_log.recent(conn, 100),
        "admin: alerts": lambda conn: alerts.page(conn, limit=100),
        "admin: alerts of an owner": lambda conn: alerts.page(conn, limit=100, owner=owner),
        "admin: critical alerts": lambda conn: alerts.page(conn, limit=100, severity="critical"),
        "admin: deliveries": lambda conn: webhook_deliveries.page(conn, limit=100),
        "admin: deliveries given up": lambda conn: webhook_deliveries.page(
            conn, limit=100, state="given_up"
        ),
        "admin: deliveries to operators": lambda conn: webhook_deliveries.page(
            conn, limit=100, operators=True
        ),
    }


async def _statement(planned: Books, owner: str, middle: int, conn: Connection) -> None:
    frontier = await statements.final_frontier(conn, str(planned.programs.vault))
    slots = await statements.interval(conn, frontier, since=middle, until=planned.end)
    await statements.first_part(conn, owner, slots, size=100)


async def _exchange_lines(middle: int, conn: Connection) -> None:
    rest = Interval(middle, 2**62, complete=False)
    end = await exchange_statement.chunk_end(conn, rest, size=1000)
    await exchange_statement.lines(conn, middle, end)


async def _metrics(conn: Connection) -> None:
    await vaults.tvl(conn)
    await event_counters.read(conn)


async def _resume(conn: Connection, topic: str) -> None:
    await outbox.topic_after(conn, topic, await outbox.topic_head(conn, topic) - 100)


async def _series(planned: Books, conn: Connection) -> None:
    since = planned.end - timedelta(days=90)
    await aggregates.series(conn, since=since, until=planned.end, bucket="day")


async def _flows(planned: Books, conn: Connection) -> None:
    since = planned.end - timedelta(days=90)
    await aggregates.flows(conn, since=since, until=planned.end, bucket="day")


def _listings(number: int) -> dict[str, Ask]:
    sorts: tuple[listing.Sort, ...] = ("balance_desc", "balance_asc", "slot", "owner")
    found: dict[str, Ask] = {}
    for sort in sorts:
        found[f"vaults by {sort}"] = partial(_page, sort, None)
        found[f"vaults by {sort}, from the middle"] = partial(_page, sort, number)
    return found


async def _page(sort: listing.Sort, number: int | None, conn: Connection) -> None:
    after = None
    if number is not None:
        [row] = await vaults.page(conn, after_owner="5", limit=1)
        after = listing.place_of(row, sort)
    await listing.page(conn, sort=sort, after=after, min_balance=0, limit=100)
