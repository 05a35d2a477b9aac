"""Work that leaves no trace is an alert, whichever replica should have done it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import trio
from trio.testing import MockClock

from cvms.nursery.alerts.silence_conditions import SNAPSHOT_SECONDS
from cvms.nursery.channels.indexer_progress import (
    DEAF_SECONDS,
    UNANNOUNCED_RUNS,
    IndexerProgress,
)
from cvms.store.messaging import leader_lease
from cvms.store.postgres.database import Database
from cvms.store.security import audit_log
from tests.nursery.alerts.test_monitor import age_alerts, monitoring, stored
from tests.nursery.world import World, running, until


async def shown(database: Database) -> list[tuple[str, str, str]]:
    return [(row.kind, row.severity, row.state) for row in await stored(database)]


async def execute(database: Database, query: str) -> None:
    async with database.connection() as conn:
        await conn.execute(query.encode())


async def test_a_minute_without_a_leader_is_critical_until_one_leads(database: Database) -> None:
    async with monitoring(database) as monitor:
        monitor._started_at = trio.current_time()
        await monitor.run_once()
        assert await shown(database) == []  # nobody has led yet
        async with database.connection() as conn:
            term = await leader_lease.take(conn, "a", lease=-59)
            await monitor.run_once()
            assert await shown(database) == []
            await leader_lease.renew(conn, term, lease=-61, slot=None, problem=None)
            await monitor.run_once()
            assert await shown(database) == []  # this replica has just started
            monitor._started_at = -1e9
            await monitor.run_once()
            [row] = await stored(database)
            assert (row.kind, row.severity) == ("leader_absent", "critical")
            assert row.details["last_leader"] == "a"
            await leader_lease.renew(conn, term, lease=2, slot=None, problem=None)
        await age_alerts(database, 61)
        await monitor.run_once()
    assert await shown(database) == [("leader_absent", "critical", "resolved")]


async def test_an_audit_entry_without_a_signed_head_is_critical(database: Database) -> None:
    async with database.transaction() as conn:
        await audit_log.record(conn, actor="a", action="b", owner=None, outcome="ok", details={})
    async with monitoring(database) as monitor:
        await monitor.run_once()
        assert await shown(database) == []
        await execute(database, "UPDATE audit_logs SET at = at - INTERVAL '5 minutes'")
        await monitor.run_once()
    assert await shown(database) == [("audit_unsigned", "critical", "open")]


async def test_a_snapshot_that_is_old_and_stays_the_last_is_a_warning(
    database: Database, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1.0
    await execute(database, "UPDATE snapshot_head SET at = now() - INTERVAL '3 days'")
    async with monitoring(database) as monitor:
        await monitor.run_once()
        mock_clock.jump(SNAPSHOT_SECONDS)
        await execute(database, "UPDATE snapshot_head SET at = at + INTERVAL '1 day'")
        await monitor.run_once()  # they are being written
        assert await shown(database) == []
        mock_clock.jump(SNAPSHOT_SECONDS)
        await monitor.run_once()
        assert await shown(database) == [("snapshots_overdue", "warning", "open")]
        await execute(database, "UPDATE snapshot_head SET at = now() - INTERVAL '1 hour'")
        await age_alerts(database, timedelta(minutes=1, seconds=1).total_seconds())
        mock_clock.jump(SNAPSHOT_SECONDS)
        await monitor.run_once()
    assert await shown(database) == [("snapshots_overdue", "warning", "resolved")]


@pytest.mark.parametrize("subscribed", [True, False])
async def test_a_subscription_that_stays_silent_is_a_warning(
    database: Database, mock_clock: MockClock, subscribed: bool
) -> None:
    mock_clock.rate = 1.0
    progress = IndexerProgress()
    async with monitoring(database, progress=progress) as monitor:
        mock_clock.jump(DEAF_SECONDS)
        await monitor.run_once()  # this replica does not listen
        progress.hearing.expect()
        if subscribed:
            progress.hearing.heard()
            progress.hearing.unannounced = UNANNOUNCED_RUNS
        await monitor.run_once()
        mock_clock.jump(DEAF_SECONDS)
        if subscribed:
            progress.hearing.unannounced -= 1  # a quiet program sends nothing
            await monitor.run_once()
            progress.hearing.unannounced += 1
        assert await shown(database) == []
        await monitor.run_once()
    assert await shown(database) == [("subscription_silent", "warning", "open")]


async def test_the_indexer_tells_whether_notices_arrive(world: World) -> None:
    owner = await world.owner()
    hearing = world.progress.hearing
    async with running(world.indexer().run):
        await until(_holds(lambda: hearing.subscribed))
        await world.act(owner, world.deposit(owner, 1))
        await until(_holds(lambda: world.progress.slot is not None and not hearing.unannounced))
    assert hearing.listening
    before = hearing.unannounced
    await world.act(owner, world.deposit(owner, 1))
    await world.indexer().catch_up()  # without listening
    await world.indexer().catch_up()  # nothing is new
    assert hearing.unannounced == before + 1


def _holds(condition: Callable[[], bool]) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        await trio.lowlevel.checkpoint()
        return condition()

    return check
