"""Outages of the server: callers fail in time, and the service recovers by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest
import trio
import trio.testing
from psycopg.errors import DivisionByZero, UndefinedTable, UniqueViolation

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database, open_database
from tests.nursery.database_proxy import database_proxy
from tests.store.own_server import OwnServer, execute

QUERY_TIMEOUT = 1.0


@pytest.fixture
async def fragile(own_server: OwnServer) -> AsyncIterator[Database]:
    """A database on the server that tests stop and freeze, with short deadlines."""
    async with open_database(
        own_server.uri(),
        size=4,
        acquire_timeout=1.0,
        connect_timeout=1.0,
        query_timeout=QUERY_TIMEOUT,
    ) as database:
        await database.prepare()
        yield database


async def open_all(database: Database) -> None:
    """Fill the pool with connections."""
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(sleep_a_little, database)


async def sleep_a_little(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("SELECT pg_sleep(0.02)")


async def select_seven(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("SELECT 7")


async def comes_back(database: Database) -> None:
    """Probe until the database answers, for at most a few seconds."""
    with trio.fail_after(10):
        while True:
            try:
                await database.probe()
            except DatabaseUnavailable:
                await trio.sleep(0.05)
            else:
                return


async def test_there_is_no_connection_before_the_schema_is_applied(empty_database_url: str) -> None:
    async with open_database(empty_database_url) as database:
        with pytest.raises(DatabaseUnavailable, match="schema"):
            async with database.connection():
                raise AssertionError("the tables are not there")
        await database.probe()
        await database.prepare()
        async with database.connection() as conn:
            await conn.execute("SELECT count(*) FROM vaults")


async def test_an_unreachable_server_is_reported_at_once() -> None:
    async with open_database("postgresql://postgres@127.0.0.1:1/postgres") as database:
        with trio.fail_after(1), pytest.raises(DatabaseUnavailable, match="refused"):
            await database.prepare()
        assert not database.available


async def test_errors_of_the_caller_pass_through(database: Database) -> None:
    for statement, error in (
        (b"INSERT INTO event_totals VALUES ('a', 1, 1), ('a', 1, 1)", UniqueViolation),
        (b"SELECT * FROM nowhere", UndefinedTable),
        (b"SELECT 1 / 0", DivisionByZero),
    ):
        with pytest.raises(error):
            async with database.transaction() as conn:
                await conn.execute(statement)
    assert database.available


async def test_a_query_that_the_server_cancels_raises_unavailable_and_keeps_the_connection(
    fragile: Database,
) -> None:
    with trio.fail_after(QUERY_TIMEOUT + 1), pytest.raises(DatabaseUnavailable):
        async with fragile.connection() as conn:
            await conn.execute("SELECT pg_sleep(60)")
    assert conn.reusable
    assert fragile.available


async def test_sessions_ended_while_idle_are_replaced_without_an_error(
    fragile: Database, own_server: OwnServer
) -> None:
    await open_all(fragile)
    execute(
        own_server.uri(),
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE application_name = 'cvms'",
    )
    for _ in range(8):
        async with fragile.connection() as conn:
            await conn.execute("SELECT 1")


async def test_a_session_ended_while_in_use_raises_unavailable_and_the_next_works(
    fragile: Database, own_server: OwnServer
) -> None:
    async def lose_the_session() -> None:
        async with fragile.transaction() as conn:
            execute(own_server.uri(), f"SELECT pg_terminate_backend({conn.info.backend_pid}, 5000)")
            await conn.execute("SELECT 1")

    with trio.fail_after(5), pytest.raises(DatabaseUnavailable):
        await lose_the_session()
    await fragile.probe()


async def test_a_restarted_server_is_used_again(fragile: Database, own_server: OwnServer) -> None:
    await open_all(fragile)
    own_server.stop()
    for _ in range(5):
        with trio.fail_after(1), pytest.raises(DatabaseUnavailable):
            await fragile.probe()
    assert not fragile.available
    own_server.start()
    await comes_back(fragile)
    await open_all(fragile)
    assert fragile.available


async def test_while_the_server_is_down_callers_fail_without_waiting(
    own_server: OwnServer, fragile: Database
) -> None:
    """One attempt takes the connect timeout of a second; the others must not wait for it too."""
    own_server.freeze()
    with pytest.raises(DatabaseUnavailable):
        await fragile.probe()
    start = trio.current_time()
    refused = 0
    while trio.current_time() - start < 0.5:
        with pytest.raises(DatabaseUnavailable):
            await fragile.probe()
        refused += 1
        await trio.lowlevel.checkpoint()
    assert refused > 100


async def test_a_frozen_server_raises_unavailable_within_the_deadline_and_recovers(
    fragile: Database, own_server: OwnServer
) -> None:
    await open_all(fragile)
    refused: list[float] = []

    async def query() -> None:
        async with fragile.connection() as conn:
            own_server.freeze()
            await conn.execute("SELECT 1")

    async def hear_of_it() -> None:
        start = trio.current_time()
        with pytest.raises(DatabaseUnavailable):
            await query()
        refused.append(trio.current_time() - start)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(hear_of_it)
    assert max(refused) < QUERY_TIMEOUT + 1
    assert not fragile.available
    own_server.thaw()
    await comes_back(fragile)
    await open_all(fragile)


async def test_after_an_outage_every_idle_connection_is_checked(
    own_server: OwnServer,
) -> None:
    """A query on a dead connection takes the query timeout, a check the connect timeout."""
    async with open_database(
        own_server.uri(), size=4, connect_timeout=0.2, query_timeout=QUERY_TIMEOUT
    ) as database:
        await database.prepare()
        await open_all(database)
        own_server.freeze()
        took: list[float] = []
        end = trio.current_time() + QUERY_TIMEOUT + 2
        while (start := trio.current_time()) < end:
            with pytest.raises(DatabaseUnavailable):
                await database.probe()
            took.append(trio.current_time() - start)
            await trio.sleep(0.02)
    assert took[0] > QUERY_TIMEOUT
    assert max(took[1:]) < QUERY_TIMEOUT


async def test_a_task_cancelled_on_a_frozen_server_ends_soon(
    fragile: Database, own_server: OwnServer
) -> None:
    start = trio.current_time()
    with trio.move_on_after(0.1) as scope:
        async with fragile.transaction() as conn:
            own_server.freeze()
            await conn.execute("SELECT 1")
    assert scope.cancelled_caught
    assert trio.current_time() - start < 2.5
    assert conn.closed


async def test_a_replica_frozen_in_a_transaction_loses_its_locks(
    fragile: Database, own_server: OwnServer
) -> None:
    """The server ends a session that is idle in a transaction for three query timeouts."""
    lock = b"UPDATE outbox_head SET position = position"
    async with fragile.transaction() as frozen:
        await frozen.execute(lock)
        with psycopg.connect(own_server.uri()) as other:
            other.execute("SET lock_timeout = '8s'")
            await trio.to_thread.run_sync(other.execute, lock)
            other.rollback()
        frozen.finish()


async def test_an_answer_that_cannot_be_read_raises_unavailable_and_ends_its_connection(
    database_url: str,
) -> None:
    """It has no SQLSTATE: libpq refuses it, and keeps the connection."""
    value, cut_short = b"\0\1\0\0\0\0017", b"\0\1\0\0\0\0057"
    async with database_proxy(database_url) as proxy, open_database(proxy.uri) as database:
        await database.prepare()
        proxy.tcp.corrupt = lambda data: data.replace(value, cut_short)
        with pytest.raises(DatabaseUnavailable):
            await select_seven(database)
        async with database.dedicated() as conn:
            with pytest.raises(psycopg.OperationalError):
                await conn.execute("SELECT 7")
            assert conn.closed
        proxy.tcp.heal()
        await comes_back(database)
