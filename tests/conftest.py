"""What every test may ask for: a PostgreSQL server and a database of its own."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cvms.dev.postgres import embedded_postgres

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URI of an embedded PostgreSQL, one for each test process; gone afterwards."""
    # Not below pytest's own folder: a unix socket's path may not exceed 107 bytes.
    with (
        tempfile.TemporaryDirectory(prefix="cvms-pg-") as folder,
        embedded_postgres(Path(folder) / "data") as uri,
    ):
        with psycopg.connect(uri, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        yield uri


@pytest.fixture
def database_url(postgres_server: str) -> Iterator[str]:
    """The URI of a fresh, empty database, dropped afterwards."""
    name = f"cvms_{next(_numbers)}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield postgres_server.replace("/postgres?", f"/{name}?")
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
