"""Scenarios begin with a database that has no schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.processes import ServerForker
from tests.scenario.context import Place


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The URI of a fresh database without the schema: the server applies it, or dies doing so."""
    return empty_database_url


@pytest.fixture
def place(forker: ServerForker, postgres_server: str, tmp_path: Path) -> Place:
    return Place(forker, postgres_server, tmp_path)
