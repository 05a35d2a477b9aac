"""At most one replica runs the tasks that must be single, and soon after it is gone, another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from cvms.chain.types import Slot
from cvms.errors import DatabaseUnavailable
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.leader_election import LeaderElection
from cvms.store.messaging import leader_lease
from cvms.store.messaging.leader_lease import Report
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from tests.nursery.cable import cable
from tests.nursery.world import until

LEASE = 0.6


class Stage:
    """Who acts. Acting counts, so that a test sees whether two ever did at once."""

    def __init__(self) -> None:
        self.acting: list[str] = []
        self.most = 0
        self.began: list[str] = []

    async def act(self, name: str) -> None:
        self.began.append(name)
        self.acting.append(name)
        self.most = max(self.most, len(self.acting))
        try:
            await trio.sleep_forever()
        finally:
            self.acting.remove(name)

    async def acts(self, name: str) -> bool:
        return self.acting == [name]


class Replica:
    """A candidate in a scope of its own."""

    def __init__(self, stage: Stage, database: Database, name: str) -> None:
        self.metrics = Metrics()
        self.progress = IndexerProgress()
        self.scope = trio.CancelScope()
        self.lost = trio.Event()
        self._leader = LeaderElection(
            database=database,
            tasks=partial(stage.act, name),
            name=name,
            progress=self.progress,
            board=StatusBoard(),
            metrics=self.metrics,
            lease_seconds=LEASE,
        )

    async def run(self) -> None:
        with self.scope:
            try:
                await self._leader.run()
            except* DatabaseUnavailable:
                self.lost.set()


@asynccontextmanager
async def replica(
    nursery: trio.Nursery, stage: Stage, url: str, name: str
) -> AsyncIterator[Replica]:
    async with open_database(url) as database:
        candidate = Replica(stage, database, name)
        nursery.start_soon(candidate.run)
        yield candidate
        candidate.scope.cancel()


async def test_of_many_one_leads_and_its_successor_waits_for_nothing_when_it_resigns(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    stage = Stage()
    async with replica(nursery, stage, database_url, "one") as one:
        await until(partial(stage.acts, "one"))
        async with replica(nursery, stage, database_url, "two") as two:
            one.progress.slot = Slot(7)
            async with database.connection() as conn:
                await until(partial(reported, conn, Report("one", 7, None)))
            assert two.metrics.registry.get_sample_value("leader") == 0
            one.scope.cancel()
            await until(partial(stage.acts, "two"))
            assert two.metrics.registry.get_sample_value("leader") == 1
    assert stage.most == 1


async def test_a_leader_whose_session_ends_stops_at_once_and_another_takes_over(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    stage = Stage()
    async with (
        replica(nursery, stage, database_url, "one") as one,
        database.connection() as conn,
    ):
        await until(partial(stage.acts, "one"))
        async with replica(nursery, stage, database_url, "two"):
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
            await until(partial(stage.acts, "two"))
            assert one.lost.is_set()
    assert stage.most == 1


async def test_a_leader_that_is_cut_off_stops_before_another_begins(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    """Its session is alive to the server, and its socket to it: only the lease tells."""
    stage = Stage()
    async with cable(database_url) as line, replica(nursery, stage, line.uri, "one"):
        await until(partial(stage.acts, "one"))
        async with replica(nursery, stage, database_url, "two"):
            line.cut()
            await until(partial(stage.acts, "two"))
    assert stage.most == 1


async def test_who_takes_over_waits_until_the_last_lease_has_run_out(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    """The last leader may be gone from the server and alive."""
    async with database.dedicated() as session:
        assert await leader_lease.try_lock(session)
        await leader_lease.take(session, "gone", lease=1.0)
    stage = Stage()
    async with replica(nursery, stage, database_url, "one"):
        async with database.connection() as conn:
            while not stage.acting:
                remaining = await leader_lease.remaining(conn)
                await trio.sleep(0.01)
        assert remaining < 0.1


async def test_a_term_that_another_has_ended_is_over(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    stage = Stage()
    async with replica(nursery, stage, database_url, "one"), database.connection() as conn:
        await until(partial(stage.acts, "one"))
        await conn.execute("UPDATE leadership SET term = term + 1")
        await until(partial(_began, stage, 2))
    assert stage.most == 1


async def reported(conn: Connection, report: Report) -> bool:
    return await leader_lease.report(conn) == report


async def _began(stage: Stage, times: int) -> bool:
    return len(stage.began) >= times


@pytest.mark.parametrize("candidates", [6])
async def test_many_candidates_and_leaders_that_fall_give_one_at_a_time(
    database: Database, database_url: str, nursery: trio.Nursery, candidates: int
) -> None:
    stage = Stage()
    async with open_database(database_url, size=1) as other:
        replicas = {name: Replica(stage, other, name) for name in map(str, range(candidates))}
        for each in replicas.values():
            nursery.start_soon(each.run)
        for fallen in range(candidates):
            await until(partial(_began, stage, fallen + 1))
            replicas[stage.began[-1]].scope.cancel()
    assert sorted(stage.began) == sorted(replicas)
    assert stage.most == 1
