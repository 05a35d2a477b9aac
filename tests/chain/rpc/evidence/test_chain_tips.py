"""Tips and retention of a node."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cvms.chain.rpc.evidence.chain_tips import first_block, read_tips
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.errors import ChainUnavailable, RpcError
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.node.faults import Fail
from tests.harness.localnet import Localnet


@pytest.fixture
async def rpc(localnet: Localnet) -> AsyncIterator[RpcClient]:
    async with open_rpc([localnet.rpc_url]) as rpc:
        localnet.running.chain.pause()
        yield rpc


@pytest.fixture
def chain(localnet: Localnet) -> LocalnetChain:
    return localnet.running.chain


async def test_the_tips_are_those_of_the_chain(rpc: RpcClient, chain: LocalnetChain) -> None:
    chain.skip_to(chain.tip.slot + 50)
    chain.advance(6)
    tips = await read_tips(rpc)
    assert tips.confirmed.height == chain.tip.height - 1
    assert tips.finalized.height == chain.tip.height - 4
    assert tips.slot == tips.confirmed.slot > tips.confirmed.height, "slots were skipped"


async def test_a_node_says_where_its_ledger_begins_if_it_offers_that(
    rpc: RpcClient, localnet: Localnet
) -> None:
    assert await first_block(rpc) == 0
    localnet.running.faults.history.first_slot = 1
    assert await first_block(rpc) == 1
    localnet.running.faults.rpc.append(Fail(methods="getFirstAvailableBlock", code=-32601))
    assert await first_block(rpc) is None
    assert (await read_tips(rpc)).slot > 0


async def test_a_node_that_refuses_gives_no_tips(rpc: RpcClient, localnet: Localnet) -> None:
    localnet.running.faults.rpc.append(Fail(code=-32000))
    with pytest.raises((RpcError, ChainUnavailable)):
        await read_tips(rpc)
