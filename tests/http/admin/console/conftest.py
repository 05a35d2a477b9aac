"""The front end with administrators, on a real chain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness.localnet import Localnet
from tests.harness.service import Service, running
from tests.http.admin.test_admin_routes import SECRET
from tests.nursery.world import World


@pytest.fixture
async def console(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """Run the front end alone, with a secret, on a real chain."""
    async with running(database_url, **localnet.settings, admin_jwt_secret=SECRET) as service:
        yield service


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Service]:
    """Run the front end alone, with a secret and no chain."""
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        yield service


@pytest.fixture
def world(console: Service, localnet: Localnet) -> World:
    """Return the chain of the front end, with an indexer that the test runs."""
    return World(localnet.running, console.resources)
