"""Fixture of all scenarios: the process that servers are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenario.servers import ServerForker, server_forker


@pytest.fixture(scope="session")
def forker() -> Iterator[ServerForker]:
    with server_forker() as started:
        yield started


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The URI of a fresh database without the schema: the server applies it, or dies doing so."""
    return empty_database_url
