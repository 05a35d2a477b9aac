"""Hundreds of cancellations at random moments: no wrong row, no lost money, no stuck connection."""

from __future__ import annotations

import random

import pytest
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection

ACCOUNTS = 10
START = 1000


async def fill(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER)")
        await conn.execute(
            "INSERT INTO accounts SELECT n, %s FROM generate_series(0, %s) AS n",
            [START, ACCOUNTS - 1],
        )


async def transfer(database: Database, dice: random.Random) -> None:
    async with database.transaction() as conn:
        for account, change in zip(sorted(dice.sample(range(ACCOUNTS), 2)), (-7, 7), strict=True):
            await conn.execute(
                "UPDATE accounts SET amount = amount + %s WHERE id = %s", [change, account]
            )


async def look_up(conn: Connection, dice: random.Random) -> None:
    n = dice.randrange(10**6)
    cursor = await conn.execute("SELECT %s, pg_sleep(%s)", [n, dice.random() / 500])
    assert await cursor.fetchone() == (n, "")


async def pipeline(conn: Connection, dice: random.Random) -> None:
    numbers = [dice.randrange(10**6) for _ in range(20)]
    async with conn.pipeline():
        cursors = [await conn.execute("SELECT %s", [n]) for n in numbers]
        assert [await cursor.fetchone() for cursor in cursors] == [(n,) for n in numbers]


async def insert_many(conn: Connection, dice: random.Random) -> None:
    await conn.execute("CREATE TEMP TABLE IF NOT EXISTS scratch (n INTEGER)")
    async with conn.cursor() as cursor:
        rows = [(dice.randrange(10**6),) for _ in range(50)]
        await cursor.executemany("INSERT INTO scratch VALUES (%s)", rows)


async def copy(conn: Connection, dice: random.Random) -> None:
    size = dice.randrange(1000, 5000)
    async with (
        conn.cursor() as cursor,
        cursor.copy("COPY (SELECT generate_series(1, %s)) TO STDOUT", [size]) as rows,
    ):
        assert len([row async for row in rows.rows()]) == size


async def act(database: Database, dice: random.Random) -> None:
    if dice.random() < 0.5:
        await transfer(database, dice)
        return
    async with database.connection() as conn:
        await dice.choice([look_up, pipeline, insert_many, copy])(conn, dice)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_many_cancellations_change_no_result_and_no_sum(
    database: Database, seed: int
) -> None:
    await fill(database)
    finished = cancelled = 0

    async def worker(dice: random.Random) -> None:
        nonlocal finished, cancelled
        for _ in range(60):
            with trio.move_on_after(dice.choice([0, 0.0005, 0.002, 0.01, 60])) as scope:
                await act(database, dice)
                finished += 1
            cancelled += scope.cancelled_caught

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(worker, random.Random(seed * 100 + number))
        async with database.connection() as conn:
            cursor = await conn.execute("SELECT sum(amount), count(*) FROM accounts")
            assert await cursor.fetchone() == (START * ACCOUNTS, ACCOUNTS)
    assert cancelled > 50
    assert finished > 50
    await every_connection_is_usable(database)


async def every_connection_is_usable(database: Database) -> None:
    """Check that all connections are free again, and none holds a lock that blocks another."""
    together = trio.Event()
    out = 0

    async def hold() -> None:
        nonlocal out
        async with database.transaction() as conn:
            await conn.execute("LOCK TABLE accounts IN SHARE MODE")
            out += 1
            if out == 8:
                together.set()
            await together.wait()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(hold)


async def test_a_transaction_cancelled_while_it_waits_for_a_lock_releases_its_own(
    database: Database,
) -> None:
    await fill(database)
    take = "UPDATE accounts SET amount = amount - 1 WHERE id = %s"
    with trio.fail_after(5):
        async with database.transaction() as holder:
            await holder.execute(take, [0])
            with trio.move_on_after(0.1):
                async with database.transaction() as waiter:
                    await waiter.execute(take, [1])
                    await waiter.execute(take, [0])
            await holder.execute(take, [1])
        async with database.connection() as conn:
            cursor = await conn.execute("SELECT sum(amount) FROM accounts")
            assert await cursor.fetchone() == (START * ACCOUNTS - 2,)


async def test_cancelling_the_wait_for_a_connection_leaves_the_queue(
    database: Database,
) -> None:
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            held = trio.Event()

            async def hold() -> None:
                async with database.connection():
                    await held.wait()

            for _ in range(8):
                nursery.start_soon(hold)
            await trio.testing.wait_all_tasks_blocked()
            with trio.move_on_after(0.05) as scope:
                async with database.connection():
                    raise AssertionError("there were only eight")
            assert scope.cancelled_caught
            held.set()
        await database.probe()
        assert database.available


async def test_a_caller_without_a_connection_fails_within_the_timeout(database: Database) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        held = trio.Event()

        async def hold() -> None:
            async with database.connection():
                await held.wait()

        for _ in range(8):
            nursery.start_soon(hold)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(DatabaseUnavailable, match="no connection came free"):
            await database.probe()
        held.set()
    assert 1.9 < trio.current_time() - start < 3
    await database.probe()
