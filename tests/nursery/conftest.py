"""A real local chain with the real program, a real database, and the books compared with both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests, open_prepared_resources
from tests.nursery.forking import Forking
from tests.nursery.world import World
from tests.nursery.written_rows import require_messages


@pytest.fixture
async def world(database_url: str, localnet: Localnet) -> AsyncIterator[World]:
    """The chain and the database, with what the tasks share."""
    config = config_for_tests(database_url, **localnet.settings)
    async with open_prepared_resources(config) as resources:
        await require_messages(resources.database)
        yield World(localnet.running, resources)


@pytest.fixture
async def forking(world: World, postgres_server: str) -> Forking:
    """The newest block is not confirmed, and those four deeper are final."""
    world.chain.chain.pause()
    return Forking(world, postgres_server)
