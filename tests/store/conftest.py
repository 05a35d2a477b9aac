"""A PostgreSQL server that a test may stop and freeze."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.own_server import OwnServer


@pytest.fixture(scope="session")
def _server_of_session() -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="cvms-own-pg-") as folder:
        server = OwnServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def own_server(_server_of_session: OwnServer) -> Iterator[OwnServer]:
    """A running PostgreSQL on loopback TCP, whatever the previous test did to it."""
    _server_of_session.start()
    yield _server_of_session
    _server_of_session.thaw()
