"""Migrations are applied once, in order, by one process at a time."""

from __future__ import annotations

import hashlib
import sys

import psycopg
import pytest
import trio
from structlog.testing import capture_logs

from cvms.store.postgres import migrate
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.migrate import Migration, apply_schema, migrations
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.security import second_factors
from cvms.store.vaults import vaults
from tests.store.examples import store_vault, vault_row

APPLY_IN_ANOTHER_PROCESS = """
import sys, trio
from cvms.store.postgres.database import open_database

async def main():
    async with open_database(sys.argv[1]) as database:
        await database.prepare()

trio.run(main)
"""


# As databases in use have them. A name never changes once it is applied somewhere.
RELEASED = [
    (1, "vaults, history, events, outbox, nonces, audit, submissions, reconciliation"),
    (2, "which events count, and what the history holds beyond the accounts"),
    (3, "answers to requests that may be sent again"),
    (4, "withdrawals that several must sign, and how the signers are told"),
    (5, "second factors"),
    (6, "vaults in any order, and as they were"),
    (7, "what analytics answer from, written in the transaction that applies the events"),
    (8, "what a fork takes back"),
    (9, "what a submission's end is decided by, and what the operator pays for others"),
    (10, "alerts"),
    (11, "balances on the hour, and what was told last"),
    (12, "what falls due in vaults, and who was told of it"),
    (13, "what yield protocols pay, and whose yield the service compounds"),
    (14, "how far the books are held against the chain, and history in the chain's order"),
    (15, "which of several replicas leads"),
]


async def versions(database: Database) -> list[tuple[int, ...]]:
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT version FROM schema_migrations ORDER BY version")
        return await cursor.fetchall()


async def test_applying_it_again_changes_nothing(database: Database) -> None:
    async with database.transaction() as conn:
        await store_vault(conn, vault_row())
    await database.prepare()
    async with database.connection() as conn:
        assert await vaults.get(conn, "owner") is not None
    assert await versions(database) == [(migration.version,) for migration in migrations()]


async def test_the_migrations_are_recorded_as_in_databases_in_use(database: Database) -> None:
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT version, name FROM schema_migrations ORDER BY version")
        assert (await cursor.fetchall())[: len(RELEASED)] == RELEASED


async def test_a_partly_migrated_database_gets_the_rest(empty_database_url: str) -> None:
    async with open_database(empty_database_url) as database:
        async with database.dedicated() as conn:
            await apply_schema(conn, migrations()[:7])
        await database.prepare()
        assert await versions(database) == [(migration.version,) for migration in migrations()]
        async with database.transaction() as conn:
            await store_vault(conn, vault_row())


async def test_replies_and_errors_of_before_are_found_as_they_are_looked_for_now(
    empty_database_url: str,
) -> None:
    async with open_database(empty_database_url) as database, database.dedicated() as conn:
        await apply_schema(conn, [each for each in migrations() if each.version < 18])
        await conn.execute(
            """
                INSERT INTO idempotency_keys
                VALUES ('o', 'key', sha256('x'), 202, 'text/plain', 'reply', now())
                """
        )
        errors = (
            "ConnectionRefusedError at hooks.example",
            "hooks.example resolves to an address that is not public",
            "replied with status 500",
        )
        for error in errors:
            await conn.execute(
                "INSERT INTO webhook_deliveries (event, body, last_error) VALUES ('e', '', %s)",
                [error],
            )
        await apply_schema(conn)
        cursor = await conn.execute("SELECT owner, content FROM idempotency_keys")
        fingerprint = hashlib.sha256(b"x")
        holders = ("o", "admin:o", f"request:{fingerprint.hexdigest()}")
        assert set(await cursor.fetchall()) == {(holder, b"reply") for holder in holders}
        cursor = await conn.execute("SELECT last_error FROM webhook_deliveries")
        assert {error for (error,) in await cursor.fetchall()} == {
            "ConnectionRefusedError",
            "the host resolves to an address that is not public",
            "replied with status 500",
        }


async def test_no_code_of_before_is_valid_again_if_the_clock_is_set_back(
    empty_database_url: str,
) -> None:
    async with open_database(empty_database_url) as database, database.dedicated() as conn:
        await apply_schema(conn, [each for each in migrations() if each.version < 17])
        for owner, last_step in (("alice", 1_000), ("ahead", 10**9)):
            await conn.execute(
                "INSERT INTO twofa (owner, secret, created_at, enabled_at, last_step)"
                " VALUES (%s, '', now(), now(), %s)",
                [owner, last_step],
            )
        await apply_schema(conn)
        for owner, used in (("alice", True), ("ahead", False)):
            factor = await second_factors.lock(conn, owner)
            assert factor is not None
            assert [factor.step_used(step, newest=step) for step in (1, 950)] == [used, used]


async def test_each_migration_of_a_database_in_use_is_logged(empty_database_url: str) -> None:
    async with open_database(empty_database_url) as database, database.dedicated() as conn:
        await apply_schema(conn, migrations()[:-2])
        with capture_logs() as logged:
            await apply_schema(conn)
    told = [(each["event"], each["version"]) for each in logged if each["log_level"] == "info"]
    assert told == [
        (event, migration.version)
        for migration in migrations()[-2:]
        for event in ("migration_started", "migration_applied")
    ]


async def test_a_long_migration_says_that_it_is_running(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = trio.Event()

    class Log:
        def info(self, event: str, **about: object) -> None:
            if event == "migration_running":
                assert about["version"] == 2
                told.set()

    monkeypatch.setattr(migrate, "log", Log())
    monkeypatch.setattr(migrate, "REPORT_SECONDS", 0.01)
    first, long = Migration(1, "x", "SELECT 1"), Migration(2, "y", "SELECT pg_advisory_lock(7)")
    with trio.fail_after(20):
        async with (
            open_database(empty_database_url) as database,
            database.dedicated() as conn,
            database.dedicated() as other,
            trio.open_nursery() as nursery,
        ):
            await apply_schema(conn, [first])
            await other.execute("SELECT pg_advisory_lock(7)")
            nursery.start_soon(apply_schema, conn, [first, long])
            await told.wait()
            await other.execute("SELECT pg_advisory_unlock(7)")


async def test_an_error_of_a_migration_is_raised_as_it_is(empty_database_url: str) -> None:
    async with open_database(empty_database_url) as database, database.dedicated() as conn:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await apply_schema(conn, [Migration(1, "wrong", "DROP TABLE nothing")])


async def test_the_migrations_may_be_run_by_hand_as_well(database: Database) -> None:
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


@pytest.mark.parametrize(("known", "given"), [("4MB", "64MB"), ("100MB", "100MB")])
async def test_a_migration_may_sort_in_memory_and_its_session_later_as_before(
    database: Database, known: str, given: str
) -> None:
    sql = "CREATE TABLE memory AS SELECT current_setting('work_mem') AS work"
    last = Migration(len(migrations()) + 1, "last", sql)
    async with database.dedicated() as conn:
        await conn.execute(f"SET work_mem = '{known}'".encode())
        await apply_schema(conn, [*migrations(), last])
        assert await fetch_value(conn, "SELECT work FROM memory") == given
        assert await fetch_value(conn, "SELECT current_setting('work_mem')") == known
