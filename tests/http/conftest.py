"""The front end on real sockets and a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cvms.dev.chain_setup import local_yield_sources
from tests.harness.localnet import Localnet
from tests.harness.service import Served, Service, running, whole_service


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[Service]:
    """The front end with a database and without a chain."""
    async with running(database_url) as service:
        yield service


@pytest.fixture
async def system(database_url: str, localnet: Localnet) -> AsyncIterator[Served]:
    """The whole service, every task included, on a real chain."""
    sources = local_yield_sources(localnet.programs, localnet.operator.pubkey())
    async with whole_service(database_url, yield_sources=sources, **localnet.settings) as served:
        yield served


@pytest.fixture
async def front(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """The front end alone, on a real chain: what it writes down stays as it wrote it."""
    sources = local_yield_sources(localnet.programs, localnet.operator.pubkey())
    async with running(database_url, yield_sources=sources, **localnet.settings) as service:
        yield service
