"""A local chain whose blocks only the tests produce, and submissions that are quarantined."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests, open_prepared_resources
from tests.nursery.world import World


@pytest.fixture
async def world(database_url: str, localnet: Localnet) -> AsyncIterator[World]:
    """The chain and the database, with what the tasks share. Its clock stands still."""
    config = config_for_tests(database_url, **localnet.settings)
    async with open_prepared_resources(config) as resources:
        localnet.running.chain.pause()
        yield World(localnet.running, resources)
