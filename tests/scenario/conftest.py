"""Fixture of all scenarios: the process that servers are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenario.servers import ServerForker, server_forker


@pytest.fixture(scope="session")
def forker() -> Iterator[ServerForker]:
    with server_forker() as started:
        yield started
