"""A transaction that PostgreSQL asks to repeat is repeated as a whole, and counts once."""

from __future__ import annotations

from functools import partial

import psycopg
import pytest
import trio

from cvms.errors import DatabaseUnavailable
from cvms.metrics import Metrics
from cvms.store.postgres.database import ATTEMPTS, Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_column, fetch_value
from tests.store.own_server import execute

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{}'; END $$"


class Attempts:
    """Adds a row in each attempt, of which the first few fail with `state`."""

    def __init__(self, state: str, failures: int) -> None:
        self.state, self.failures, self.made = state, failures, 0

    async def __call__(self, conn: Connection) -> int:
        self.made += 1
        await conn.execute("INSERT INTO effects VALUES (%s)", [self.made])
        if self.made <= self.failures:
            await conn.execute(RAISE.format(self.state).encode())
        return self.made


async def effects(database: Database) -> list[int]:
    async with database.connection() as conn:
        return await fetch_column(conn, "SELECT number FROM effects ORDER BY 1")


@pytest.fixture
def database_url(database_url: str) -> str:
    execute(database_url, "CREATE TABLE effects (number INT PRIMARY KEY)")
    return database_url


@pytest.mark.parametrize("state", ["40001", "40P01"])
async def test_it_is_repeated_until_it_succeeds_and_each_repetition_is_counted(
    database: Database, database_url: str, state: str
) -> None:
    metrics = Metrics()
    async with open_database(database_url, metrics=metrics.database) as counting:
        await counting.prepare()
        assert await counting.transact(attempts := Attempts(state, 2)) == 3
    assert attempts.made == 3
    assert await effects(database) == [3]
    repeats = metrics.registry.get_sample_value("cvms_database_transaction_repeats_total")
    assert repeats == 2


async def test_it_is_given_up_after_a_few_attempts(database: Database) -> None:
    attempts = Attempts("40001", failures=ATTEMPTS + 1)
    with pytest.raises(DatabaseUnavailable, match="on purpose"):
        await database.transact(attempts)
    assert attempts.made == ATTEMPTS
    assert await effects(database) == []


@pytest.mark.parametrize("state", ["23505", "53100", "57014", "57P01", "P0001", "25006"])
async def test_no_other_failure_is_repeated(database: Database, state: str) -> None:
    attempts = Attempts(state, failures=1)
    with pytest.raises((DatabaseUnavailable, psycopg.Error)):
        await database.transact(attempts)
    assert attempts.made == 1
    assert await effects(database) == []


async def test_of_two_that_deadlock_both_take_effect_once(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("CREATE TABLE pair (name TEXT PRIMARY KEY, value INT NOT NULL)")
        await conn.execute("INSERT INTO pair VALUES ('one', 0), ('other', 0)")
    locked = {"one": trio.Event(), "other": trio.Event()}
    attempts = 0

    async def add(first: str, second: str, conn: Connection) -> None:
        nonlocal attempts
        attempts += 1
        add_one = "UPDATE pair SET value = value + 1 WHERE name = %s"
        await conn.execute(add_one, [first])
        locked[first].set()
        await locked[second].wait()
        await conn.execute(add_one, [second])

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(database.transact, partial(add, "one", "other"))
            nursery.start_soon(database.transact, partial(add, "other", "one"))
    assert attempts >= 3
    async with database.connection() as conn:
        assert await fetch_value(conn, "SELECT array_agg(value) FROM pair") == [2, 2]
