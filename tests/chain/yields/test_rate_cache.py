"""The cache of rates: who refreshes it, the age of a reading, and nodes that do not respond."""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK
from trio.testing import MockClock

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.yields.rate_cache import RETRY_SECONDS, RateCache, RateReading
from cvms.chain.yields.rates import ProtocolName, SupplyRate
from cvms.chain.yields.sources import YieldSource
from tests.chain.rpc.scripted_node import Reply, ScriptedNode, error, result
from tests.chain.yields.accounts import PROGRAMS, SOLEND, lent

NOW = 1_790_000_000
SOURCE = YieldSource(ProtocolName.SOLEND, Pubkey.new_unique())


@dataclass
class Node:
    """A node with a reserve and a clock, whose slot advances with every response."""

    slot: int = 453_700_000
    away: bool = False
    readings: list[Any] = field(default_factory=list)

    async def answer(self, request: Any) -> Reply:
        self.slot += 1
        if request["params"][0] != [str(CLOCK)]:
            self.readings.append(request)
        if self.away:
            return error(request, -32005, "Node is behind")
        value = [_account(each) for each in request["params"][0]]
        return result(request, {"context": {"slot": self.slot}, "value": value})


def _account(address: str) -> dict[str, Any]:
    clock = struct.pack("<QqQQq", 0, 0, 0, 0, NOW)
    data, owner = (clock, "Sysvar1111111111111111111111111111111111111")
    if address != str(CLOCK):
        data, owner = lent(50), str(SOLEND)
    encoded = base64.b64encode(data).decode()
    return {"lamports": 1, "owner": owner, "data": [encoded, "base64"], "executable": False}


@asynccontextmanager
async def latest(node: Node, *, max_age: float = 60) -> AsyncIterator[RateCache]:
    scripted = ScriptedNode(node.answer)
    async with trio.open_nursery() as nursery:
        await nursery.start(scripted.serve)
        async with open_rpc([scripted.url]) as rpc:
            yield RateCache(rpc, [SOURCE], programs=PROGRAMS, max_age=max_age)
        nursery.cancel_scope.cancel()


async def reading_of(rates: RateCache) -> RateReading:
    reading = await rates.read()
    assert reading is not None
    return reading


async def test_one_caller_reads_for_all_that_wait(mock_clock: MockClock) -> None:
    node = Node()
    readings: list[RateReading] = []
    async with latest(node) as rates:

        async def ask() -> None:
            readings.append(await reading_of(rates))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
    assert len(node.readings) == 1
    assert len({id(each) for each in readings}) == 1
    [rate] = readings[0].outcomes
    assert isinstance(rate, SupplyRate)
    assert readings[0].chain_time == NOW


async def test_a_reading_is_kept_for_its_time_and_then_replaced(mock_clock: MockClock) -> None:
    node = Node()
    async with latest(node) as rates:
        first = await reading_of(rates)
        mock_clock.jump(59)
        assert await reading_of(rates) is first
        assert first.age == 59
        mock_clock.jump(1)
        second = await reading_of(rates)
    assert second.outcomes[0].source_slot > first.outcomes[0].source_slot
    assert second.age == 0


async def test_without_a_node_the_last_reading_stays_with_its_age(mock_clock: MockClock) -> None:
    node = Node()
    async with latest(node) as rates:
        first = await reading_of(rates)
        node.away = True
        mock_clock.jump(3600)
        assert await reading_of(rates) is first
        assert first.age == 3600
        tried = len(node.readings)
        assert await reading_of(rates) is first
        assert len(node.readings) == tried  # nobody else waits for a node that was just away
        node.away = False
        mock_clock.jump(RETRY_SECONDS)
        assert await reading_of(rates) is not first


async def test_before_any_node_has_answered_there_is_no_reading(mock_clock: MockClock) -> None:
    node = Node(away=True)
    async with latest(node) as rates:
        assert await rates.read() is None
        mock_clock.jump(RETRY_SECONDS)
        node.away = False
        assert await rates.read() is not None


async def test_a_cancelled_reader_leaves_the_refresh_to_the_next(
    mock_clock: MockClock,
) -> None:
    node = Node()
    async with latest(node) as rates:
        with trio.CancelScope() as leaving:
            leaving.cancel()
            await rates.read()
        assert leaving.cancelled_caught
        assert await rates.read() is not None
