"""Requests that wait at the same moment are answered by one query, each as if it were alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.batcher import MAX_QUERIES, MAX_WAITING, Batcher
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.outage_kinds import kind_of

QUOTIENTS = """
SELECT 100 / number
FROM unnest(%(numbers)s::BIGINT[]) AS asked (number)
"""
END_SESSION = "SELECT pg_terminate_backend(pg_backend_pid())"
ENDS_THE_SESSION = -1


class Division:
    """Divides a hundred by each number once the gate is open, and records what was asked."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.asked: list[list[int]] = []

    async def __call__(self, conn: Connection, numbers: Sequence[int]) -> list[int]:
        self.asked.append(list(numbers))
        await self.gate.wait()
        if ENDS_THE_SESSION in numbers:
            await conn.execute(END_SESSION)
        cursor = await conn.execute(QUOTIENTS, {"numbers": list(numbers)})
        return [row[0] for row in await cursor.fetchall()]


class Clients:
    """Tasks that ask, in order, and what each of them was answered."""

    def __init__(self, nursery: trio.Nursery, batcher: Batcher[int, int]) -> None:
        self._nursery = nursery
        self._batcher = batcher
        self.answers: dict[int, int] = {}
        self.errors: dict[int, Exception] = {}

    async def ask(self, *numbers: int) -> list[trio.CancelScope]:
        """Ask, and return once each waits."""
        scopes = [trio.CancelScope() for _ in numbers]
        for number, scope in zip(numbers, scopes, strict=True):
            self._nursery.start_soon(self._ask, number, scope)
            await wait_all_tasks_blocked()
        return scopes

    async def _ask(self, number: int, scope: trio.CancelScope) -> None:
        with scope:
            try:
                self.answers[number] = await self._batcher.ask(number)
            except Exception as error:
                self.errors[number] = error


@pytest.fixture
async def division(database: Database) -> Division:
    async with database.connection(), database.connection(), database.connection():
        pass  # no request has to connect first
    return Division()


@asynccontextmanager
async def running(batcher: Batcher[int, int]) -> AsyncIterator[Clients]:
    """Run the batcher until every client has its answer."""
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_QUERIES):
            nursery.start_soon(batcher.run)
        with trio.fail_after(10):
            async with trio.open_nursery() as clients:
                yield Clients(clients, batcher)
        nursery.cancel_scope.cancel()


async def test_a_request_that_finds_none_is_made_at_once_by_its_own_task(
    database: Database, division: Division
) -> None:
    division.gate.set()
    batcher = Batcher(database, division, size=10)  # which nobody runs
    assert [await batcher.ask(number) for number in (5, 20)] == [20, 5]


async def test_those_that_wait_share_the_next_query(database: Database, division: Division) -> None:
    async with running(Batcher(database, division, size=3)) as clients:
        await clients.ask(1, 2, 4, 5, 10, 20)
        assert division.asked == [[1], [2]]
        division.gate.set()
    assert division.asked == [[1], [2], [4, 5, 10], [20]]
    assert clients.answers == {1: 100, 2: 50, 4: 25, 5: 20, 10: 10, 20: 5}


async def test_no_more_than_two_queries_are_under_way(
    database: Database, division: Division
) -> None:
    batcher = Batcher(database, division, size=1)
    with trio.fail_after(10):
        async with trio.open_nursery() as batching:
            async with trio.open_nursery() as nursery:
                await Clients(nursery, batcher).ask(1, 2, 4)
                for _ in range(MAX_QUERIES):
                    batching.start_soon(batcher.run)
                await wait_all_tasks_blocked()
                assert division.asked == [[1], [2]]
                division.gate.set()
            batching.cancel_scope.cancel()
    assert division.asked == [[1], [2], [4]]


async def test_whoever_comes_later_does_not_go_before_those_that_wait(
    database: Database, division: Division
) -> None:
    async with running(Batcher(database, division, size=1)) as clients:
        first, _ = await clients.ask(1, 2)
        await clients.ask(4, 5)
        first.cancel()
        clients._nursery.start_soon(clients._ask, 10, trio.CancelScope())
        await wait_all_tasks_blocked()
        assert division.asked == [[1], [2], [4]]
        division.gate.set()
    assert division.asked == [[1], [2], [4], [5], [10]]


async def test_whoever_waits_no_longer_is_not_asked_for(
    database: Database, division: Division
) -> None:
    async with running(Batcher(database, division, size=10)) as clients:
        await clients.ask(1, 2)
        _, cancelled, _ = await clients.ask(4, 5, 10)
        cancelled.cancel()
        await wait_all_tasks_blocked()
        division.gate.set()
    assert division.asked == [[1], [2], [4, 10]]
    assert clients.answers == {1: 100, 2: 50, 4: 25, 10: 10}


async def test_a_cancelled_request_ends_no_query_but_its_own(
    database: Database, division: Division
) -> None:
    async with running(Batcher(database, division, size=10)) as clients:
        alone, _ = await clients.ask(1, 2)
        together, _ = await clients.ask(4, 5)
        alone.cancel()  # which makes room for the next query
        await wait_all_tasks_blocked()
        assert division.asked == [[1], [2], [4, 5]]
        together.cancel()
        await wait_all_tasks_blocked()
        division.gate.set()
    assert clients.answers == {2: 50, 5: 20}


async def test_a_bad_request_fails_alone(database: Database, division: Division) -> None:
    too_large = 2**63
    async with running(Batcher(database, division, size=10)) as clients:
        await clients.ask(1, 2, 4, 0, 5, too_large)
        division.gate.set()
    assert clients.answers == {1: 100, 2: 50, 4: 25, 5: 20}
    assert isinstance(clients.errors[0], psycopg.errors.DivisionByZero)
    assert isinstance(clients.errors[too_large], psycopg.errors.NumericValueOutOfRange)


async def test_a_query_with_too_few_results_answers_none_with_those_of_others(
    database: Database, division: Division
) -> None:
    async def without_fours(conn: Connection, numbers: Sequence[int]) -> list[int]:
        return await division(conn, [number for number in numbers if number != 4])

    async with running(Batcher(database, without_fours, size=10)) as clients:
        await clients.ask(1, 2, 4, 5)
        division.gate.set()
    assert clients.answers == {1: 100, 2: 50, 5: 20}
    assert isinstance(clients.errors[4], ValueError)


async def test_a_lost_connection_is_an_error_of_its_own_for_each(
    database: Database, division: Division
) -> None:
    async with running(Batcher(database, division, size=3)) as clients:
        await clients.ask(1, 2, 4, ENDS_THE_SESSION, 5, 10)
        division.gate.set()
    assert division.asked == [[1], [2], [4, ENDS_THE_SESSION, 5], [10]]
    assert clients.answers == {1: 100, 2: 50, 10: 10}
    errors = [clients.errors[number] for number in (4, ENDS_THE_SESSION, 5)]
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, DatabaseUnavailable)
        assert isinstance(error.__cause__, psycopg.errors.AdminShutdown)
        assert kind_of(error) == "connection_lost"


async def test_nobody_waits_longer_than_the_deadline(
    database: Database, division: Division
) -> None:
    async with running(Batcher(database, division, size=10, seconds=0)) as clients:
        await clients.ask(1, 2, 4)
        assert "in time" in str(clients.errors[4])
        division.gate.set()
    assert division.asked == [[1], [2]]


async def test_no_more_than_a_limit_may_wait(database: Database, division: Division) -> None:
    batcher = Batcher(database, division, size=MAX_WAITING)
    async with running(batcher) as clients:
        await clients.ask(1, 2)
        for number in range(3, MAX_WAITING + 3):
            clients._nursery.start_soon(clients._ask, number, trio.CancelScope())
        await wait_all_tasks_blocked()
        with pytest.raises(DatabaseUnavailable, match="wait"):
            await batcher.ask(5)
        division.gate.set()
    assert [len(each) for each in division.asked] == [1, 1, MAX_WAITING]
    assert len(clients.answers) == MAX_WAITING + 2


async def test_nobody_waits_for_a_batcher_that_has_ended(
    database: Database, division: Division
) -> None:
    batcher = Batcher(database, division, size=1)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            run = trio.CancelScope()

            async def batching() -> None:
                with run:
                    await batcher.run()

            nursery.start_soon(batching)
            clients = Clients(nursery, batcher)
            first, second = await clients.ask(1, 2)
            await clients.ask(4, 5)
            first.cancel()  # so the query for 4 is under way, and 5 waits
            await wait_all_tasks_blocked()
            run.cancel()
            await wait_all_tasks_blocked()
            assert division.asked == [[1], [2], [4]]
            assert {type(clients.errors[number]) for number in (4, 5)} == {DatabaseUnavailable}
            second.cancel()
