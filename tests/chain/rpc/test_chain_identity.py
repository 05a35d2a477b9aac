"""Endpoints that serve different chains, and which of them is trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from solders.hash import Hash
from structlog.testing import capture_logs

from cvms.chain.rpc.chain_identity import AHEAD_SLOTS, FINALIZED_LAG_SLOTS, ChainIdentityCheck
from cvms.chain.rpc.transport.endpoint_pool import FAILURES_BEFORE_DOWN
from cvms.chain.rpc.transport.failover import FailoverTransport, open_transport
from cvms.errors import ChainUnavailable
from cvms.metrics import Metrics
from tests.chain.rpc.scripted_node import (
    FakeChain,
    Reply,
    Script,
    ScriptedNode,
    nodes,
    refusing,
    replying,
)

OTHER = str(Hash.new_unique())
SECONDS = 5.0
SLOT = 1000
COMPARED = SLOT - FINALIZED_LAG_SLOTS


@asynccontextmanager
async def compared(
    *scripts: Script, interval: float = 0.0
) -> AsyncIterator[tuple[ChainIdentityCheck, FailoverTransport, list[ScriptedNode]]]:
    async with nodes(*scripts) as started:
        urls = [node.url for node in started]
        async with open_transport(urls, timeout=SECONDS, metrics=Metrics()) as transport:
            for each in transport.pool.all():
                transport.pool.saw(each, SLOT, newest=True)
            yield ChainIdentityCheck(transport, interval=interval), transport, started


def refused(transport: FailoverTransport) -> list[bool]:
    return [each.refused is not None for each in transport.pool.all()]


def disagrees(transport: FailoverTransport) -> list[bool]:
    return [each.disagrees for each in transport.pool.all()]


def counted(transport: FailoverTransport, node: ScriptedNode) -> float:
    assert transport.metrics is not None
    labels = {"endpoint": f"127.0.0.1:{node.port}"}
    registry = transport.metrics.registry
    return registry.get_sample_value("cvms_rpc_disagreements_total", labels) or 0.0


async def test_endpoints_that_agree_are_all_used() -> None:
    async with compared(FakeChain(), FakeChain(blocks={SLOT: OTHER})) as (agreement, transport, _):
        await agreement.run_once(seconds=SECONDS)
        assert refused(transport) == disagrees(transport) == [False, False]


async def test_a_single_endpoint_is_not_compared() -> None:
    async with compared(FakeChain()) as (agreement, _, [node]):
        await agreement.run_once(seconds=SECONDS)
        assert node.requests == []


async def test_another_chain_than_the_first_ones_is_refused_with_the_reason() -> None:
    first, second = FakeChain(), FakeChain(genesis=OTHER)
    async with compared(first, second) as (agreement, transport, started):
        with capture_logs() as logs:
            for _ in range(3):
                await agreement.run_once(seconds=SECONDS)
        assert [each["event"] for each in logs] == ["rpc_endpoint_refused"]
        assert refused(transport) == [False, True]
        assert counted(transport, started[1]) == 1
        first.away = Reply(b"", status=500)
        started[1].requests.clear()
        for _ in range(3):
            with pytest.raises(ChainUnavailable):
                await transport.call("getThing", [{}])
        assert started[1].requests == []
        second.genesis = first.genesis  # its owner has put it right
        await agreement.run_once(seconds=SECONDS)
        assert refused(transport) == [False, False]


async def test_the_majority_decides_on_the_chain_once() -> None:
    first, second, third = FakeChain(genesis=OTHER), FakeChain(), FakeChain()
    async with compared(first, second, third) as (agreement, transport, _):
        await agreement.run_once(seconds=SECONDS)
        assert refused(transport) == [True, False, False]
        second.genesis = third.genesis = OTHER
        await agreement.run_once(seconds=SECONDS)
        assert refused(transport) == [True, True, True]


async def test_with_only_refused_endpoints_the_error_gives_the_reason() -> None:
    first, second = FakeChain(), FakeChain(away=Reply(b"", status=500))
    async with compared(first, second) as (agreement, transport, _):
        await agreement.run_once(seconds=SECONDS)
        first.genesis = second.genesis = OTHER
        second.away = None
        await agreement.run_once(seconds=SECONDS)
        with pytest.raises(ChainUnavailable, match="on another chain"):
            await transport.call("getThing", [{}])


async def test_the_chain_of_an_endpoint_that_was_down_is_checked_before_it_is_preferred() -> None:
    first, second = FakeChain(), FakeChain()
    async with compared(first, second, interval=3600.0) as (agreement, transport, _):
        await agreement.run_once(seconds=SECONDS)
        one, _ = transport.pool.all()
        for _ in range(FAILURES_BEFORE_DOWN):
            transport.pool.failed(one)
        first.genesis = OTHER
        await agreement.run_once(seconds=SECONDS)
        assert not one.checked  # it is away, and nobody waits for it
        transport.pool.succeeded(one)
        while one.unreliable:
            transport.pool.succeeded(one)
        assert transport.pool.candidates()[-1] is one
        await agreement.run_once(seconds=SECONDS)
        assert refused(transport) == [True, False]


async def test_the_majority_decides_on_a_block_and_the_other_endpoint_is_used_last() -> None:
    first, second, third = FakeChain(blocks={COMPARED: OTHER}), FakeChain(), FakeChain()
    async with compared(first, second, third) as (agreement, transport, started):
        await agreement.run_once(seconds=SECONDS)
        await agreement.run_once(seconds=SECONDS)
        assert disagrees(transport) == [True, False, False]
        assert counted(transport, started[0]) == 2
        assert transport.pool.candidates()[-1].order == 0
        first.blocks.clear()
        await agreement.run_once(seconds=SECONDS)
        assert disagrees(transport) == [False, False, False]


async def test_of_two_endpoints_the_first_is_trusted_unless_the_other_is_far_ahead() -> None:
    first, second = FakeChain(blocks={COMPARED: OTHER}), FakeChain()
    async with compared(first, second) as (agreement, transport, _):
        await agreement.run_once(seconds=SECONDS)
        assert disagrees(transport) == [False, True]
        one, two = transport.pool.all()
        one.slot, two.slot = SLOT, SLOT + 1 + AHEAD_SLOTS
        await agreement.run_once(seconds=SECONDS)
        assert disagrees(transport) == [True, False]
        two.slot = SLOT  # near again: they do not take turns
        await agreement.run_once(seconds=SECONDS)
        assert disagrees(transport) == [True, False]


@pytest.mark.parametrize(
    "silence", [refusing(-32007), refusing(-32601), replying(Reply(b"", status=500))]
)
async def test_a_missing_response_is_no_evidence(silence: Script) -> None:
    async with compared(FakeChain(), silence) as (agreement, transport, _):
        await agreement.run_once(seconds=SECONDS)
        assert refused(transport) == disagrees(transport) == [False, False]


async def test_comparisons_are_periodic_and_end_within_their_time() -> None:
    async with compared(FakeChain(), FakeChain(), interval=3600.0) as (agreement, _, [node, _]):
        for _ in range(3):
            await agreement.run_once(seconds=SECONDS)
        methods = [each["method"] for each in node.requests]
        assert methods == ["getGenesisHash", "getBlock"]
    async with compared(FakeChain(), FakeChain()) as (agreement, transport, [node, _]):

        async def never(_: object) -> Reply:
            await trio.sleep_forever()
            raise AssertionError

        node.script = never
        began = trio.current_time()
        await agreement.run_once(seconds=0.1)
        assert trio.current_time() - began < 2
        assert transport.pool.all()[0].failures == 0  # cut short by us: no fault of its own
