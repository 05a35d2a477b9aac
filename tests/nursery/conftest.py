"""A real local chain with the real program, a real database, and the books compared with both."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.store.postgres.database import Database
from tests.conftest import Localnet
from tests.nursery.forking import Forking
from tests.nursery.world import World


@pytest.fixture
async def world(database: Database, localnet: Localnet) -> AsyncIterator[World]:
    """The chain and the database, with what the tasks share."""
    async with open_rpc([localnet.rpc_url]) as rpc:
        yield World(localnet.running, rpc, localnet.programs, localnet.operator, database)


@pytest.fixture
async def forking(world: World, postgres_server: str) -> Forking:
    """The newest block is not confirmed, and those four deeper are final."""
    world.chain.chain.pause()
    return Forking(world, postgres_server)
