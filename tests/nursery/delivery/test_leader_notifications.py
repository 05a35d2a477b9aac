"""The leader is notified of work from any replica as soon as it is committed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio

from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.nursery.delivery.leader_notifications import LeaderNotifications
from cvms.store.messaging.leader_notifications import RECONCILE, notify_leader
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import submissions
from tests.nursery.world import running, until


@asynccontextmanager
async def leading(database: Database) -> AsyncIterator[tuple[SubmitWakeup, ReconcileQueue]]:
    wake, queue, board = SubmitWakeup(), ReconcileQueue(), StatusBoard()
    notifications = LeaderNotifications(
        database=database, submit_wake=wake, reconcile_queue=queue, board=board
    )

    async def listening() -> bool:
        return "calls" in board.tasks

    async with running(notifications.run):
        await until(listening)
        yield wake, queue


async def sign(conn: Connection, number: int) -> None:
    await submissions.record_signed(
        conn,
        message_hash=bytes([number] * 32),
        kind="withdraw",
        owner="owner",
        message=b"m",
        signature=f"signature {number}",
        wire=b"w",
        last_valid_block_height=1,
        since_slot=1,
    )


async def test_a_submission_signed_elsewhere_wakes_the_submitter(
    database: Database, database_url: str
) -> None:
    async with leading(database) as (wake, _), open_database(database_url) as elsewhere:
        await elsewhere.prepare()
        async with elsewhere.transaction() as conn:
            await sign(conn, 1)
            assert not await wake.wait(0.05)  # not before the commit
        assert await wake.wait(10)


async def test_what_was_rolled_back_wakes_nobody(database: Database) -> None:
    async with leading(database) as (wake, _):
        with trio.CancelScope() as scope:
            async with database.transaction() as conn:
                await sign(conn, 1)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        async with database.transaction() as conn:
            # Notifications arrive in order: once this one is here, the other cannot follow.
            await notify_leader(conn, RECONCILE)
        assert not await wake.wait(0.1)


async def test_a_comparison_requested_elsewhere_reaches_the_reconciler(
    database: Database, database_url: str
) -> None:
    async with leading(database) as (_, queue), open_database(database_url) as elsewhere:
        await elsewhere.prepare()
        async with elsewhere.transaction() as conn:
            await notify_leader(conn, RECONCILE, "alice")
        with trio.fail_after(10):
            assert await queue.receive() == ["alice"]
        assert not queue.take_everything()
        async with elsewhere.transaction() as conn:
            await notify_leader(conn, RECONCILE)
        await until(partial(_everything, queue))


async def _everything(queue: ReconcileQueue) -> bool:
    return queue.take_everything()
