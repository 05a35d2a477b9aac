"""A server that fails, or takes no writes, is an outage, and its connections are not kept."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.listen import listen
from tests.harness.small_disk import small_disk
from tests.store.own_server import OwnServer, execute, server_binaries

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{}'; END $$"
WRITE = "UPDATE write_probe SET written_at = now()"


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        ("53100", True),  # disk full
        ("53200", True),  # out of memory
        ("57014", True),  # cancelled
        ("40001", True),
        ("40P01", True),
        ("58030", False),  # input or output
        ("58P01", False),
        ("XX000", False),
        ("XX001", False),  # corrupted data
        ("25006", False),
    ],
)
async def test_faults_of_the_server_are_outages(database: Database, state: str, kept: bool) -> None:
    with pytest.raises(DatabaseUnavailable, match="on purpose"):
        async with database.connection() as conn:
            await conn.execute(RAISE.format(state).encode())
    assert conn.closed is not kept
    async with database.connection() as other:
        assert (other is conn) is kept
        await other.execute("SELECT 1")


@pytest.mark.parametrize("state", ["23505", "42501", "22012", "P0001"])
async def test_mistakes_of_the_caller_are_not(database: Database, state: str) -> None:
    with pytest.raises(psycopg.Error, match="on purpose"):
        async with database.connection() as conn:
            await conn.execute(RAISE.format(state).encode())
    assert not conn.closed


@pytest.fixture
def demoted(own_server: OwnServer) -> Iterator[OwnServer]:
    """A server that the test makes read-only."""
    yield own_server
    set_read_only(own_server, "off")


def set_read_only(server: OwnServer, value: str) -> None:
    """Set it for the sessions that are open, too."""
    execute(server.uri(), f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    execute(server.uri(), "SELECT pg_reload_conf()")
    with psycopg.connect(server.uri(), autocommit=True) as conn:
        while conn.execute("SHOW default_transaction_read_only").fetchone() != (value,):
            pass


async def test_a_server_that_becomes_read_only_is_left_until_it_takes_writes(
    demoted: OwnServer,
) -> None:
    async with open_database(demoted.uri()) as database:
        await database.prepare()
        async with database.dedicated() as session, database.connection() as busy:
            async with database.connection() as idle, database.connection() as another:
                pass
            set_read_only(demoted, "on")
            with pytest.raises(DatabaseUnavailable, match="read-only"):
                await database.probe_write()
            assert session.closed
            await busy.execute("SELECT 1")  # is not torn from under its user
        assert busy.closed
        assert idle.closed
        assert another.closed
        with pytest.raises(DatabaseUnavailable, match="read-only"):
            await database.probe()
        assert not database.available
        set_read_only(demoted, "off")
        with trio.fail_after(30):
            while not database.available:  # at most one attempt a second
                try:
                    await database.probe_write()
                except DatabaseUnavailable:
                    await trio.sleep(0.05)


async def test_who_listens_is_told_that_its_server_is_read_only(demoted: OwnServer) -> None:
    async with open_database(demoted.uri()) as database:
        await database.prepare()
        told = False
        try:
            async with listen(database, "anything", silence=0.05) as listener:
                set_read_only(demoted, "on")
                with trio.fail_after(10):
                    await listener.receive()
        except DatabaseUnavailable as error:
            told = "read-only" in str(error)
        assert told


async def test_a_read_only_server_can_be_read_by_those_who_ask_for_it(demoted: OwnServer) -> None:
    set_read_only(demoted, "on")
    async with (
        open_database(demoted.uri(target_session_attrs="any")) as database,
        database.dedicated() as session,
    ):
        row = await (await session.execute("SELECT 1")).fetchone()
        assert row == (1,)


@pytest.fixture
def small_space(own_server: OwnServer) -> Iterator[Path]:
    """A disk of 4 MB with a tablespace `small` on it."""
    user = server_binaries()[1]
    with (
        tempfile.TemporaryDirectory(prefix="cvms-disk-") as folder,
        small_disk(Path(folder), "4m") as disk,
    ):
        assert user is not None, "who mounts a disk is root, as whom no server runs"
        space = disk / "space"
        space.mkdir()
        for path in (disk, space):
            shutil.chown(path, user)
        execute(own_server.uri(), f"CREATE TABLESPACE small LOCATION '{space}'")
        yield disk
        execute(own_server.uri(), "DROP TABLESPACE small")


async def test_a_full_disk_is_seen_until_there_is_space_again(
    own_server: OwnServer, small_space: Path
) -> None:
    async with open_database(own_server.uri()) as database:
        await database.prepare()  # on the large disk
    uri = own_server.uri(options="-c%20default_tablespace%3Dsmall%20-c%20temp_tablespaces%3Dsmall")
    async with open_database(uri) as database:
        await database.prepare()
        async with database.connection() as conn:
            await conn.execute("CREATE TABLE hoard (text TEXT)")
        try:
            filler = small_space / "filler"
            with pytest.raises(OSError, match="No space left"):
                filler.write_bytes(bytes(8 * 2**20))
            await database.probe_write()  # needs no space, and nobody has needed any yet
            with pytest.raises(DatabaseUnavailable, match="No space left"):
                async with database.connection() as conn:
                    await conn.execute("INSERT INTO hoard SELECT repeat('x', 1000)")
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable, match="No space left"):
                    await database.probe_write()
            filler.unlink()
            await database.probe_write()
        finally:
            execute(own_server.uri(), "DROP TABLE hoard")


async def test_a_role_without_temporary_tables_finds_that_there_is_space_again(
    database_url: str,
) -> None:
    async with open_database(database_url) as database:
        await database.prepare()
    execute(database_url, STRICT.format(conninfo_to_dict(database_url)["dbname"]))
    async with open_database(make_conninfo(database_url, options="-c role=clerk")) as database:
        await database.prepare()
        with pytest.raises(DatabaseUnavailable):
            async with database.connection() as conn:
                await conn.execute(RAISE.format("53100").encode())
        await database.probe_write()


async def test_a_setting_that_only_a_superuser_may_correct_is_an_outage(
    own_server: OwnServer,
) -> None:
    uri = own_server.uri().replace("postgres@", "clerk@", 1)
    execute(own_server.uri(), "CREATE ROLE clerk LOGIN")
    execute(own_server.uri(), "ALTER ROLE clerk SET session_replication_role = 'replica'")
    async with open_database(uri) as database:
        try:
            with pytest.raises(DatabaseUnavailable, match="session_replication_role"):
                await database.probe()
        finally:
            execute(own_server.uri(), "DROP ROLE clerk")


STRICT = """
DO $$ BEGIN CREATE ROLE clerk; EXCEPTION WHEN duplicate_object THEN NULL; END $$;
REVOKE ALL ON DATABASE "{0}" FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE "{0}" TO clerk;
GRANT USAGE, CREATE ON SCHEMA public TO clerk;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk;
"""
