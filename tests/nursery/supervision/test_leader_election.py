"""Leader election: at most one replica runs the tasks, and another one soon takes over from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from cvms.chain.types import Slot
from cvms.errors import DatabaseUnavailable
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.leader_election import RENEWALS, LeaderElection
from cvms.store.messaging import leader_lease
from cvms.store.messaging.leader_lease import Report
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from tests.nursery.database_proxy import database_proxy
from tests.nursery.world import until

LEASE = 0.6


class Runs:
    """The replicas that run the tasks now, the largest number at once, and all that started."""

    def __init__(self) -> None:
        self.active: list[str] = []
        self.max_active = 0
        self.started: list[str] = []
        self.start_times: list[float] = []

    async def run(self, name: str) -> None:
        self.started.append(name)
        self.start_times.append(trio.current_time())
        self.active.append(name)
        self.max_active = max(self.max_active, len(self.active))
        try:
            await trio.sleep_forever()
        finally:
            self.active.remove(name)

    async def are_of(self, name: str) -> bool:
        return self.active == [name]


class Replica:
    """A candidate in a cancel scope of its own."""

    def __init__(self, runs: Runs, database: Database, name: str) -> None:
        self.metrics = Metrics()
        self.progress = IndexerProgress()
        self.scope = trio.CancelScope()
        self.lost = trio.Event()
        self.board = StatusBoard()
        self.election = LeaderElection(
            database=database,
            tasks=partial(runs.run, name),
            name=name,
            progress=self.progress,
            board=self.board,
            metrics=self.metrics,
            lease_seconds=LEASE,
        )

    async def run(self) -> None:
        with self.scope:
            try:
                await self.election.run()
            except* DatabaseUnavailable:
                self.lost.set()


@asynccontextmanager
async def replica(nursery: trio.Nursery, runs: Runs, url: str, name: str) -> AsyncIterator[Replica]:
    async with open_database(url) as database:
        candidate = Replica(runs, database, name)
        nursery.start_soon(candidate.run)
        yield candidate
        candidate.scope.cancel()


async def test_one_replica_leads_and_its_successor_does_not_wait_after_a_release(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    runs = Runs()
    async with replica(nursery, runs, database_url, "one") as one:
        await until(partial(runs.are_of, "one"))
        async with replica(nursery, runs, database_url, "two") as two:
            one.progress.slot = Slot(7)
            async with database.connection() as conn:
                await until(partial(reported, conn, Report("one", 7, None)))
            assert two.metrics.registry.get_sample_value("cvms_leader") == 0
            one.scope.cancel()
            await until(partial(runs.are_of, "two"))
            assert two.metrics.registry.get_sample_value("cvms_leader") == 1
    assert runs.max_active == 1


async def test_a_leader_that_loses_its_session_stops_at_once_and_another_takes_over(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    runs = Runs()
    async with (
        replica(nursery, runs, database_url, "one") as one,
        database.connection() as conn,
    ):
        await until(partial(runs.are_of, "one"))
        async with replica(nursery, runs, database_url, "two"):
            await conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
            await until(partial(runs.are_of, "two"))
            assert one.lost.is_set()
    assert runs.max_active == 1


async def test_a_leader_that_is_cut_off_stops_before_another_begins(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    """Neither the server nor the leader sees the connection closed, so only the lease ends."""
    runs = Runs()
    async with database_proxy(database_url) as proxy, replica(nursery, runs, proxy.uri, "one"):
        await until(partial(runs.are_of, "one"))
        async with replica(nursery, runs, database_url, "two"):
            proxy.tcp.stop()
            await until(partial(runs.are_of, "two"))
    assert runs.max_active == 1


async def test_a_successor_waits_until_the_last_lease_has_run_out(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    """The server may have lost the session of a leader that is still running."""
    async with database.dedicated() as session:
        assert await leader_lease.try_lock(session)
        began = trio.current_time()
        await leader_lease.take(session, "gone", lease=1.0)
    runs = Runs()
    async with replica(nursery, runs, database_url, "one"):
        await until(partial(runs.are_of, "one"))
    # Not what remains as it begins: by then the lease is its own.
    assert runs.start_times[0] >= began + 1.0


async def test_a_lease_from_before_the_clock_was_set_back_ends_in_time(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    async with database.connection() as conn:
        await leader_lease.take(conn, "gone", lease=LEASE)
        await conn.execute("UPDATE leadership SET until = until + INTERVAL '1 day'")
    runs = Runs()
    began = trio.current_time()
    async with replica(nursery, runs, database_url, "one"):
        await until(partial(runs.are_of, "one"))
    assert runs.start_times[0] - began >= LEASE


async def test_a_leader_stops_when_its_term_was_ended_by_another(
    database: Database, database_url: str, nursery: trio.Nursery
) -> None:
    runs = Runs()
    async with replica(nursery, runs, database_url, "one"), database.connection() as conn:
        await until(partial(runs.are_of, "one"))
        await conn.execute("UPDATE leadership SET term = term + 1")
        await until(partial(_started, runs, 2))
    assert runs.max_active == 1


async def reported(conn: Connection, report: Report) -> bool:
    return await leader_lease.report(conn) == report


async def _started(runs: Runs, times: int) -> bool:
    return len(runs.started) >= times


@pytest.mark.parametrize("candidates", [6])
async def test_with_many_candidates_and_failing_leaders_one_leads_at_a_time(
    database: Database, database_url: str, nursery: trio.Nursery, candidates: int
) -> None:
    runs = Runs()
    async with open_database(database_url, size=1) as other:
        replicas = {name: Replica(runs, other, name) for name in map(str, range(candidates))}
        for each in replicas.values():
            nursery.start_soon(each.run)
        for stopped in range(candidates):
            await until(partial(_started, runs, stopped + 1))
            replicas[runs.started[-1]].scope.cancel()
    assert sorted(runs.started) == sorted(replicas)
    assert runs.max_active == 1


# --- a process that was stopped ---------------------------------------------------------------

# It sees what a jump of its clock shows: everything falls due at once.

ACTION_SECONDS = LEASE / 10


class Acting:
    """A leader's task that acts all the time, and how often it has."""

    def __init__(self) -> None:
        self.actions = 0
        self.ended = False
        self.changed = trio.Event()

    async def run(self) -> None:
        try:
            while True:
                self.actions += 1
                self.changed.set()
                await trio.sleep(ACTION_SECONDS)
        finally:
            self.ended = True
            self.changed.set()

    async def change(self) -> None:
        """Wait for the next action or the end."""
        self.changed = trio.Event()
        await self.changed.wait()


@pytest.fixture
async def acting(mock_clock: MockClock) -> Acting:
    return Acting()


@pytest.fixture
async def leader(database: Database, acting: Acting, nursery: trio.Nursery) -> Replica:
    """A leader that runs `acting`."""
    leader = Replica(Runs(), database, "one")
    leader.election.tasks = acting.run
    nursery.start_soon(leader.run)
    await acting.changed.wait()
    return leader


@pytest.mark.parametrize("renewals", [0, 1, 3])
async def test_a_leader_that_was_stopped_beyond_its_lease_does_nothing_when_it_wakes(
    leader: Replica, acting: Acting, mock_clock: MockClock, renewals: int
) -> None:
    for _ in range(renewals):
        mock_clock.jump(LEASE / RENEWALS)
        await _renewed(leader)
    actions = acting.actions
    mock_clock.jump(LEASE)
    await acting.change()
    assert (acting.actions, acting.ended) == (actions, True)


async def test_a_leader_that_renews_its_lease_acts_beyond_it(
    leader: Replica, acting: Acting, mock_clock: MockClock
) -> None:
    for _ in range(2 * RENEWALS):
        mock_clock.jump(LEASE / RENEWALS)
        await _renewed(leader)
    actions = acting.actions
    mock_clock.jump(ACTION_SECONDS)
    await acting.change()
    assert (acting.actions, acting.ended) == (actions + 1, False)


async def test_a_leader_that_was_stopped_while_its_renewal_was_answered_does_nothing_either(
    leader: Replica, acting: Acting, mock_clock: MockClock, database_url: str
) -> None:
    """The answer says that the term goes on, and is older than the lease."""
    with _renewal_in_flight(database_url, mock_clock) as in_flight:
        await in_flight.sent()
        actions = acting.actions
        in_flight.answer()
        mock_clock.jump(LEASE)
        await acting.change()
    assert (acting.actions, acting.ended) == (actions, True)


async def test_a_lease_begins_when_its_renewal_is_sent(
    leader: Replica, acting: Acting, mock_clock: MockClock, database_url: str
) -> None:
    """The database counts from the time at which it was answered, which may be as early."""
    with _renewal_in_flight(database_url, mock_clock) as in_flight:
        await in_flight.sent()
        mock_clock.jump(0.4 * LEASE)
        in_flight.answer()
        await _renewed(leader)
    actions = acting.actions
    mock_clock.jump(0.6 * LEASE)
    await acting.change()
    assert (acting.actions, acting.ended) == (actions, True)


@dataclass
class _RenewalInFlight:
    lock: psycopg.Connection[Any]
    observer: psycopg.Connection[Any]

    async def sent(self) -> None:
        """Wait until the renewal has reached the database, which cannot answer it."""
        while not self._count("wait_event_type = 'Lock'"):
            await trio.lowlevel.checkpoint()
        await wait_all_tasks_blocked()

    def answer(self) -> None:
        """Let the database answer, without a checkpoint in which the answer could be read."""
        self.lock.commit()
        while self._count("query LIKE '%UPDATE leadership%' AND state = 'active'"):
            pass

    def _count(self, condition: str) -> int:
        """Count the other sessions of this database for which the condition holds."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        own = "pid <> pg_backend_pid()"
        row = self.observer.execute(f"{query} AND {own} AND {condition}".encode()).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def _renewal_in_flight(database_url: str, clock: MockClock) -> Iterator[_RenewalInFlight]:
    """Let the leader send a renewal that waits for a lock."""
    with (
        psycopg.connect(database_url) as lock,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        lock.execute("SELECT FROM leadership FOR UPDATE")
        clock.jump(LEASE / RENEWALS)
        yield _RenewalInFlight(lock, observer)


async def _renewed(leader: Replica) -> None:
    """Wait until the next renewal is done."""
    heartbeat = leader.board.tasks["leader"].heartbeat
    while leader.board.tasks["leader"].heartbeat == heartbeat:
        await trio.lowlevel.checkpoint()
    await wait_all_tasks_blocked()
