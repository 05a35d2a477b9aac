"""A chain with a paused clock: a test starts each slot itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import httpx
import pytest
import trio

from cvms import localnet
from tests.localnet.local_node import FINALIZED_LAG, Node


@pytest.fixture
async def node(nursery: trio.Nursery) -> AsyncIterator[Node]:
    timing = localnet.Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=FINALIZED_LAG)
    running: localnet.Running = await nursery.start(
        partial(localnet.serve, port=0, ledger=None, timing=timing)
    )
    running.chain.pause()
    async with httpx.AsyncClient() as http:
        yield Node(running, http)
