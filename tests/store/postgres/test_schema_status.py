"""Migrations beside the code: older and newer, changed files, locked tables, killed processes."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import pytest
import trio

from cvms.errors import DatabaseUnavailable, SchemaMismatch
from cvms.store.postgres import migrate
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.migrate import apply_schema, migration_state, read_status
from cvms.store.postgres.migrations import FIRST_RELEASE, Migration, MigrationState, migrations
from cvms.store.postgres.row_mapping import fetch_value

EXPANSION = Migration(
    1000, "more", "-- more\n-- expansion\nCREATE TABLE more (n INT)", "1000_more.sql"
)


def test_migrations_after_the_first_release_say_what_they_mean_for_older_code() -> None:
    silent = [each.file for each in migrations() if not each.declared]
    assert silent == [each.file for each in migrations() if each.version <= FIRST_RELEASE]


async def test_the_state_is_told_without_a_change(
    database: Database, empty_database_url: str
) -> None:
    async with open_database(empty_database_url) as empty, empty.dedicated() as conn:
        assert await migration_state(conn) is MigrationState.BEHIND
        assert await fetch_value(conn, "SELECT to_regclass('schema_migrations')") is None
    async with database.connection() as conn:
        assert await migration_state(conn) is MigrationState.EQUAL
        status = await read_status(conn, [*migrations(), EXPANSION])
        assert (status.state, status.pending) == (MigrationState.BEHIND, [EXPANSION])


async def test_older_code_works_after_an_expansion(database: Database) -> None:
    async with database.connection() as conn:
        await apply_schema(conn, [*migrations(), EXPANSION])
        assert await migration_state(conn) is MigrationState.NEWER_COMPATIBLE
    await database.prepare()
    await database.prepare(migrate=False)


@pytest.mark.parametrize("migrate", [True, False])
async def test_code_that_a_contraction_leaves_behind_is_refused(
    database: Database, migrate: bool
) -> None:
    newest = migrations()[-1].version
    steps = [
        *migrations(),
        Migration(newest + 1, "a", "-- a\n-- expansion\nALTER TABLE nonces ADD COLUMN a INT"),
        Migration(
            newest + 2,
            "b",
            f"-- b\n-- contraction: code that knows migration {newest + 1}\nDROP TABLE flows",
        ),
    ]
    async with database.connection() as conn:
        await apply_schema(conn, steps)
        assert await migration_state(conn) is MigrationState.NEWER_INCOMPATIBLE
        between = await read_status(conn, steps[:-1])
        assert between.state is MigrationState.NEWER_COMPATIBLE
    with pytest.raises(
        SchemaMismatch, match=f"only code that knows migration {newest + 1} may run"
    ):
        await database.prepare(migrate=migrate)


async def test_with_pending_migrations_a_start_that_may_not_migrate_is_refused(
    empty_database_url: str,
) -> None:
    async with open_database(empty_database_url) as database:
        with pytest.raises(SchemaMismatch, match="run `cvms migrate`"):
            await database.prepare(migrate=False)
        async with database.dedicated() as conn:
            await apply_schema(conn, migrations()[:-1])
        with pytest.raises(SchemaMismatch, match=migrations()[-1].file):
            await database.prepare(migrate=False)
        await database.prepare()
        await database.prepare(migrate=False)


async def test_a_file_that_has_changed_since_it_was_applied_is_named(database: Database) -> None:
    changed = replace(EXPANSION, sql=EXPANSION.sql.replace("INT", "BIGINT"))
    async with database.connection() as conn:
        await apply_schema(conn, [*migrations(), EXPANSION])
        with pytest.raises(SchemaMismatch, match=r"migration 1000_more\.sql is not the one"):
            await apply_schema(conn, [*migrations(), changed])


@pytest.mark.parametrize(
    "sql",
    [
        EXPANSION.sql.replace("\n", "\r\n"),
        EXPANSION.sql.replace("\n", "  \n") + "\n\n",
    ],
    ids=["line ends", "spaces and lines at ends"],
)
async def test_how_lines_end_is_no_change(database: Database, sql: str) -> None:
    async with database.connection() as conn:
        await apply_schema(conn, [*migrations(), EXPANSION])
        await apply_schema(conn, [*migrations(), replace(EXPANSION, sql=sql)])


async def test_a_database_of_the_first_release_gets_checksums(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("ALTER TABLE schema_migrations DROP COLUMN checksum")
        await conn.execute("ALTER TABLE schema_migrations DROP COLUMN oldest_code")
        assert await migration_state(conn) is MigrationState.EQUAL
        await apply_schema(conn)
        cursor = await conn.execute("SELECT checksum FROM schema_migrations ORDER BY version")
        assert [each.checksum for each in migrations()] == [
            checksum for (checksum,) in await cursor.fetchall()
        ]


async def test_a_locked_table_blocks_others_only_for_a_moment_and_who_locks_it_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long query holds the table; an insert that comes behind the migration is not kept."""
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.5)
    monkeypatch.setattr(migrate, "FIRST_PAUSE_SECONDS", 0.01)
    change = replace(EXPANSION, sql="ALTER TABLE nonces ADD COLUMN more INT")
    told: list[dict[str, object]] = []
    blocked = trio.Event()

    def report(event: str, **about: object) -> None:
        if event == "migration_blocked":
            told.append(about)
            blocked.set()

    async with (
        database.dedicated() as conn,
        database.dedicated() as watcher,
        database.dedicated() as reader,
        trio.open_nursery() as nursery,
    ):
        pid = await fetch_value(reader, "SELECT pg_backend_pid()")
        async with reader.transaction():
            await reader.execute("SELECT count(*) FROM nonces")
            apply = partial(apply_schema, watcher=watcher, report=report)
            nursery.start_soon(apply, conn, [*migrations(), change])
            with trio.fail_after(30):
                await blocked.wait()
                async with database.transaction() as other:
                    await other.execute(
                        "INSERT INTO nonces (nonce, owner, expires_at) VALUES ('n', 'o', now())"
                    )
    assert f"process {pid} of postgres (cvms, idle in transaction for " in str(told[0]["by"])
    async with database.connection() as conn:
        assert await fetch_value(conn, "SELECT count(more) FROM nonces") == 0


async def test_a_deadlock_with_a_busy_service_is_tried_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "FIRST_PAUSE_SECONDS", 0.01)
    both = "ALTER TABLE nonces ADD COLUMN more INT; ALTER TABLE write_probe ADD COLUMN more INT"
    waits = "SELECT count(*) FROM pg_locks WHERE relation = 'write_probe'::REGCLASS AND NOT granted"
    events: list[str] = []
    apply = partial(apply_schema, report=lambda event, **_: events.append(event))
    async with (
        database.dedicated() as conn,
        trio.open_nursery() as nursery,
        database.dedicated() as writer,
        writer.transaction(),
    ):
        await writer.execute("SET LOCAL deadlock_timeout = '1min'")  # the migration finds it
        await writer.execute("LOCK TABLE write_probe IN ROW EXCLUSIVE MODE")
        nursery.start_soon(apply, conn, [*migrations(), replace(EXPANSION, sql=both)])
        with trio.fail_after(30):
            while not await fetch_value(writer, waits):
                pass
            await writer.execute("LOCK TABLE nonces IN ROW EXCLUSIVE MODE")
    assert events.count("migration_blocked") == 1
    async with database.connection() as conn:
        assert (
            await fetch_value(conn, "SELECT count((n.more, p.more)) FROM nonces n, write_probe p")
            == 0
        )


async def test_a_table_that_stays_locked_is_an_outage_and_leaves_nothing_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(migrate, "LOCK_ATTEMPTS", 2)
    monkeypatch.setattr(migrate, "FIRST_PAUSE_SECONDS", 0.01)
    change = Migration(1001, "change", "ALTER TABLE nonces ADD COLUMN more INT")
    async with database.dedicated() as conn, database.dedicated() as reader, reader.transaction():
        await reader.execute("SELECT count(*) FROM nonces")
        with pytest.raises(DatabaseUnavailable, match="a table stays locked by"):
            await apply_schema(conn, [*migrations(), EXPANSION, change])
        assert await migration_state(conn) is MigrationState.EQUAL


KILLED = """
import sys, trio
from cvms.store.postgres.database import open_database
from cvms.store.postgres.migrate import Migration, apply_schema, migrations

async def main():
    async with open_database(sys.argv[1]) as database, database.migrating() as (conn, _):
        await apply_schema(conn, [*migrations(), Migration(1000, "long", "SELECT pg_sleep(600)")])

trio.run(main)
"""


async def test_after_a_kill_in_the_middle_another_process_applies_everything(
    database: Database,
) -> None:
    """The server notices that the process is gone, long before its statement would end."""
    async with database.connection() as conn:
        uri = conn.info.dsn
    with trio.fail_after(60):
        process = await trio.lowlevel.open_process([sys.executable, "-c", KILLED, uri])
        async with database.dedicated() as watcher:
            while not await fetch_value(watcher, SLEEPERS):  # noqa: ASYNC110
                await trio.sleep(0.02)
        process.kill()
        await process.wait()
        async with database.dedicated() as conn:
            await apply_schema(conn, [*migrations(), EXPANSION])
            await conn.execute("SELECT n FROM more")


SLEEPERS = """
SELECT count(*)
FROM pg_stat_activity
WHERE datname = current_database() AND query = 'SELECT pg_sleep(600)' AND state = 'active'
"""
