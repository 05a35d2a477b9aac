"""Scenarios begin with a database that has no schema."""

from __future__ import annotations

import pytest


@pytest.fixture
def database_url(empty_database_url: str) -> str:
    """The URI of a fresh database without the schema: the server applies it, or dies doing so."""
    return empty_database_url
