"""The front end with administrators, and its chain."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cvms.dev.chain_setup import local_yield_sources
from tests.harness.localnet import Localnet
from tests.harness.service import Service, running
from tests.http.admin.test_admin_routes import SECRET
from tests.nursery.world import World


@pytest.fixture
async def front(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """The front end alone, on a real chain."""
    sources = local_yield_sources(localnet.programs, localnet.operator.pubkey())
    async with running(
        database_url, yield_sources=sources, admin_jwt_secret=SECRET, **localnet.settings
    ) as service:
        yield service


@pytest.fixture
def world(front: Service, localnet: Localnet) -> World:
    """Return the chain of the front end, with an indexer that the test runs."""
    return World(localnet.running, front.resources)
