"""A database with the schema applied, and a PostgreSQL server that a test may stop and freeze."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from cvms.store.database import Database, open_database
from tests.store.own_server import OwnServer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open, prepared, and empty."""
    async with open_database(database_url) as database:
        await database.prepare()
        yield database


@pytest.fixture(scope="module")
def _server_of_module() -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="cvms-own-pg-") as folder:
        server = OwnServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def own_server(_server_of_module: OwnServer) -> Iterator[OwnServer]:
    """A PostgreSQL on loopback TCP that runs, whatever the test before did to it."""
    _server_of_module.start()
    yield _server_of_module
    _server_of_module.thaw()
