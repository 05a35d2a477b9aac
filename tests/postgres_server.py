"""A PostgreSQL server for tests, and databases on it that are cloned instead of built."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import psycopg
import trio
from psycopg import sql

from cvms.dev.postgres import embedded_postgres
from cvms.store.postgres.database import open_database

BLANK = "template1"
WITH_SCHEMA = "cvms_schema"
"""Templates of a new database: nothing in it, or the schema."""

SETTINGS = ("fsync = off", "full_page_writes = off", "autovacuum = off")
"""Nothing has to survive a crash."""

MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3
"""Bytes: far more than a server's files ever take."""

_numbers = itertools.count()


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run an embedded server, and yield the URI of a database that is not for tests."""
    # Not below pytest's own folder: a unix socket's path may not exceed 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="cvms-pg-", dir=_fastest_folder()) as folder,
        embedded_postgres(Path(folder) / "data") as server,
    ):
        with _administrator(server) as connection:
            for setting in SETTINGS:
                connection.execute(f"ALTER SYSTEM SET {setting}".encode())
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"CREATE DATABASE {WITH_SCHEMA}".encode())
            trio.run(_apply_schema, database_uri(server, WITH_SCHEMA))
            yield server
        _administrator.cache_clear()


@cache
def _administrator(server: str) -> psycopg.Connection:
    """Return the connection that makes and drops databases.

    To open two for each database takes a fifth of the time that copying and dropping it takes.
    """
    return psycopg.connect(server, autocommit=True)


@contextmanager
def new_database(server: str, template: str = WITH_SCHEMA) -> Iterator[str]:
    """Yield the URI of a database of its own, dropped afterwards.

    Applying the schema takes ten times as long as copying the files of a database that has it;
    copying its pages through the write-ahead log (the default) takes twice as long.
    """
    name = f"cvms_{next(_numbers)}"
    create = "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy"
    drop = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
    connection = _administrator(server)
    connection.execute(sql.SQL(create).format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield database_uri(server, name)
    finally:
        connection.execute(sql.SQL(drop).format(sql.Identifier(name)))


@contextmanager
def named_database(server: str, name: str) -> Iterator[None]:
    """Drop a database at the end of the block, which makes it."""
    try:
        yield
    finally:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        _administrator(server).execute(drop.format(sql.Identifier(name)))


AT_NOON = """
CREATE SCHEMA clock;
CREATE FUNCTION clock.now() RETURNS TIMESTAMPTZ STABLE LANGUAGE sql AS $$
    SELECT pg_catalog.now() + {shift}
$$;
ALTER DATABASE {name} SET search_path = clock, pg_catalog, public;
"""


def set_to_noon(uri: str) -> None:
    """Move what `now()` gives to queries of later connections to about noon in UTC."""
    with psycopg.connect(uri, autocommit=True) as connection:
        shift = "SELECT date_trunc('day', now(), 'UTC') + INTERVAL '12 hours' - now()"
        row = connection.execute(shift.encode()).fetchone()
        assert row is not None
        name = sql.Identifier(connection.info.dbname)
        connection.execute(sql.SQL(AT_NOON).format(shift=sql.Literal(row[0]), name=name))


MOVABLE = """
CREATE SCHEMA clock;
CREATE TABLE clock.reading AS SELECT %(now)s::TIMESTAMPTZ AS now;
CREATE FUNCTION clock.clock_timestamp() RETURNS TIMESTAMPTZ VOLATILE LANGUAGE sql AS $$
    SELECT now FROM clock.reading
$$;
"""


class DatabaseClock:
    """What `clock_timestamp()` gives to queries of later connections, in Unix seconds."""

    def __init__(self, uri: str, now: float) -> None:
        self._uri, self._now = uri, now
        with psycopg.connect(uri, autocommit=True) as connection:
            at = sql.Literal(datetime.fromtimestamp(now, UTC))
            connection.execute(sql.SQL(MOVABLE.replace("%(now)s", "{}")).format(at))
            path = "ALTER DATABASE {} SET search_path = clock, pg_catalog, public"
            connection.execute(sql.SQL(path).format(sql.Identifier(connection.info.dbname)))

    @property
    def now(self) -> float:
        return self._now

    @now.setter
    def now(self, now: float) -> None:
        self._now = now
        with psycopg.connect(self._uri, autocommit=True) as connection:
            connection.execute(
                "UPDATE clock.reading SET now = %s", [datetime.fromtimestamp(now, UTC)]
            )


def _fastest_folder() -> Path | None:
    """Return a folder in memory if there is one: a new database is a thousand system calls."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        return MEMORY
    return None


def database_uri(server: str, name: str) -> str:
    return server.replace("/postgres?", f"/{name}?")


async def _apply_schema(uri: str) -> None:
    async with open_database(uri) as database:
        await database.prepare()
