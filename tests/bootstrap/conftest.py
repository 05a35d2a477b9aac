"""A chain with the loader and nothing else, and a deployment to it from a folder of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import trio

from cvms import localnet
from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.run import connected
from tests.block_producer import BlockProducer
from tests.bootstrap.deployer import Deployer


@pytest.fixture
async def bare(nursery: trio.Nursery, timing: localnet.Timing) -> localnet.Running:
    """A local chain without programs, on which a transaction is confirmed at once."""
    running: localnet.Running = await nursery.start(
        partial(localnet.serve, port=0, ledger=None, timing=timing)
    )
    nursery.start_soon(BlockProducer(running.chain).run)
    return running


@pytest.fixture
async def cluster(bare: localnet.Running) -> AsyncIterator[Cluster]:
    async with connected([bare.rpc_url]) as cluster:
        yield cluster


@pytest.fixture
def deployer(bare: localnet.Running, cluster: Cluster, tmp_path: Path) -> Deployer:
    return Deployer(bare, cluster, tmp_path)
