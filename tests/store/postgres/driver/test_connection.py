"""The features of psycopg work on trio."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
import trio
import trio.testing
from psycopg.rows import scalar_row

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.session import open_session
from tests.store.own_server import execute


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await open_session(database_url, connect_timeout=5, query_timeout=10)
    yield connection
    connection.finish()


async def value(connection: Connection, query: bytes) -> object:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query)
        return await cursor.fetchone()


async def test_a_session_uses_utc_and_the_server_limits_its_queries_too(
    connection: Connection,
) -> None:
    assert await value(connection, b"SHOW TimeZone") == "UTC"
    assert await value(connection, b"SHOW statement_timeout") == "10s"
    assert await value(connection, b"SHOW application_name") == "cvms"


async def test_a_pipeline_sends_many_queries_in_one_go(connection: Connection) -> None:
    with trio.fail_after(10):
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT %s", [n]) for n in range(200)]
            answers = [await cursor.fetchone() for cursor in cursors]
    assert answers == [(n,) for n in range(200)]


async def test_a_pipeline_continues_when_both_sides_send_more_than_a_buffer(
    connection: Connection,
) -> None:
    """The server stops reading until we read what it wrote: both directions have to be watched."""
    megabyte = "x" * 2**20
    with trio.fail_after(20):
        async with connection.pipeline():
            cursors = [await connection.execute("SELECT %s::TEXT", [megabyte]) for _ in range(24)]
            for cursor in cursors:
                assert await cursor.fetchone() == (megabyte,)


async def test_copy_writes_and_reads_rows(connection: Connection) -> None:
    await connection.execute("CREATE TEMP TABLE copied (n INTEGER)")
    with trio.fail_after(20):
        async with connection.cursor() as cursor:
            async with cursor.copy("COPY copied (n) FROM STDIN") as copy:
                for n in range(20_000):
                    await copy.write_row([n])
            async with cursor.copy("COPY copied TO STDOUT") as copy:
                rows = [row async for row in copy.rows()]
    assert len(rows) == 20_000
    assert await value(connection, b"SELECT sum(n) FROM copied") == sum(range(20_000))


async def test_executemany_inserts_every_row(connection: Connection) -> None:
    await connection.execute("CREATE TEMP TABLE many (n INTEGER)")
    async with connection.cursor() as cursor:
        await cursor.executemany("INSERT INTO many VALUES (%s)", [(n,) for n in range(5000)])
    assert await value(connection, b"SELECT count(*) FROM many") == 5000


async def test_a_server_side_cursor_reads_a_large_result_in_parts(connection: Connection) -> None:
    async with connection.transaction(), connection.cursor("numbers") as cursor:
        cursor.itersize = 1000
        await cursor.execute("SELECT generate_series(1, 10000)")
        assert sum([row[0] async for row in cursor]) == 50_005_000


async def test_two_tasks_on_one_connection_take_turns(connection: Connection) -> None:
    answers: list[object] = []

    async def ask(n: int) -> None:
        cursor = await connection.execute("SELECT %s FROM pg_sleep(0.01)", [n])
        answers.append(await cursor.fetchone())

    async with trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(ask, n)
    assert sorted(answers, key=str) == [(n,) for n in range(10)]


async def test_a_cancelled_query_is_cancelled_on_the_server_and_the_connection_goes_on(
    connection: Connection, database_url: str
) -> None:
    with trio.fail_after(5):
        with trio.move_on_after(0.1) as scope:
            await connection.execute("SELECT pg_sleep(60)")
        assert scope.cancelled_caught
        assert connection.reusable
        assert await value(connection, b"SELECT 42") == 42
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%'"
    with psycopg.connect(database_url) as other:
        assert other.execute(f"{running} AND state = 'active'".encode()).fetchone() == (0,)


async def test_a_task_that_is_cancelled_already_starts_no_query(connection: Connection) -> None:
    await connection.execute("CREATE TABLE written (n INTEGER)")
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.execute("INSERT INTO written VALUES (1)")
    assert scope.cancelled_caught
    assert await value(connection, b"SELECT count(*) FROM written") == 0


async def test_a_cancelled_transaction_is_rolled_back_before_the_block_ends(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted: list[object] = []
    monkeypatch.setattr(connection, "_interrupt", interrupted.append)
    await connection.execute("CREATE TABLE written (n INTEGER)")
    with trio.CancelScope() as scope:
        async with connection.transaction():
            await connection.execute("INSERT INTO written VALUES (1)")
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert connection.reusable
    assert interrupted == []  # the rollback was let through, not cancelled in its turn
    assert await value(connection, b"SELECT count(*) FROM written") == 0


async def test_a_block_cancelled_at_its_very_end_commits_nothing(
    connection: Connection,
) -> None:
    await connection.execute("CREATE TABLE written (n INTEGER)")
    with trio.CancelScope() as scope:
        async with connection.transaction():
            await connection.execute("INSERT INTO written VALUES (1)")
            scope.cancel()
    assert scope.cancelled_caught
    assert await value(connection, b"SELECT count(*) FROM written") == 0


async def test_a_savepoint_undoes_only_its_own_block(connection: Connection) -> None:
    await connection.execute("CREATE TABLE written (n INTEGER)")
    async with connection.transaction():
        await connection.execute("INSERT INTO written VALUES (1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await fail_in_a_savepoint(connection)
    assert await value(connection, b"SELECT sum(n) FROM written") == 1


async def fail_in_a_savepoint(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO written VALUES (2)")
        await connection.execute("SELECT 1 / 0")


async def test_the_server_ends_a_query_that_takes_too_long(database_url: str) -> None:
    connection = await open_session(database_url, connect_timeout=5, query_timeout=0.2)
    with trio.fail_after(5), pytest.raises(psycopg.errors.QueryCanceled):
        await connection.execute("SELECT pg_sleep(60)")
    assert connection.reusable
    connection.finish()


async def test_closing_a_connection_wakes_the_task_that_waits_on_it(
    connection: Connection,
) -> None:
    async def wait() -> None:
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT pg_sleep(60)")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            connection.finish()


async def test_a_session_that_the_server_ends_says_so(
    connection: Connection, database_url: str
) -> None:
    execute(database_url, f"SELECT pg_terminate_backend({connection.info.backend_pid})")
    with trio.fail_after(5), pytest.raises(psycopg.OperationalError):
        await connection.execute("SELECT 1")
    assert connection.closed
