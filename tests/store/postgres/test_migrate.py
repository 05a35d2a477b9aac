"""The schema is applied once, by whoever comes first, and grows by numbered migrations."""

from __future__ import annotations

import sys

import psycopg
import pytest
import trio

from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.migrate import Migration, apply_schema, migrations
from cvms.store.vaults import vaults
from tests.store.examples import vault_row

APPLY_IN_ANOTHER_PROCESS = """
import sys, trio
from cvms.store.postgres.database import open_database

async def main():
    async with open_database(sys.argv[1]) as database:
        await database.prepare()

trio.run(main)
"""


async def versions(database: Database) -> list[tuple[int, ...]]:
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT version FROM schema_migrations ORDER BY version")
        return await cursor.fetchall()


async def test_applying_it_again_changes_nothing(database: Database) -> None:
    async with database.transaction() as conn:
        await vaults.upsert(conn, vault_row())
    await database.prepare()
    async with database.connection() as conn:
        assert await vaults.get(conn, "owner") is not None
    assert await versions(database) == [(migration.version,) for migration in migrations()]


async def test_the_file_may_be_run_by_hand_as_well(database: Database) -> None:
    async with database.transaction() as conn:
        for migration in migrations():
            await conn.execute(migration.sql.encode())


async def test_many_tasks_may_apply_it_at_once(empty_database_url: str) -> None:
    async def prepare() -> None:
        async with open_database(empty_database_url) as database:
            await database.prepare()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(prepare)


async def test_several_processes_may_apply_it_at_once(empty_database_url: str) -> None:
    command = [sys.executable, "-c", APPLY_IN_ANOTHER_PROCESS, empty_database_url]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(trio.run_process, command)


async def test_a_later_migration_is_added_to_what_is_there(database: Database) -> None:
    later = Migration(1000, "a table more", "CREATE TABLE added_later (n INTEGER)")
    async with database.connection() as conn:
        await apply_schema(conn, [*migrations(), later])
        await apply_schema(conn, [*migrations(), later])
        await conn.execute("SELECT n FROM added_later")
    assert (1000,) in await versions(database)


async def test_a_migration_that_fails_leaves_nothing_behind(database: Database) -> None:
    good = Migration(1000, "good", "CREATE TABLE added_later (n INTEGER)")
    bad = Migration(1001, "bad", "CREATE TABLE vaults (n INTEGER)")
    async with database.connection() as conn:
        with pytest.raises(psycopg.errors.DuplicateTable):
            await apply_schema(conn, [*migrations(), good, bad])
        with pytest.raises(psycopg.errors.UndefinedTable):
            await conn.execute("SELECT n FROM added_later")


def test_migrations_are_numbered_in_order_from_one() -> None:
    numbers = [migration.version for migration in migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
