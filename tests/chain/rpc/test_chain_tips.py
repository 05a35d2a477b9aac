"""Tips, retention and finalized blocks of a node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from solders.keypair import Keypair

from cvms.chain.rpc.chain_tips import final_block, read_tips
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


async def airdrop(rpc: RpcClient) -> str:
    signature: str = await rpc.call("requestAirdrop", [str(Keypair().pubkey()), 10**9])
    return signature


async def test_the_tips_are_those_of_the_chain(rpc: RpcClient, chain: LocalnetChain) -> None:
    chain.skip_to(chain.tip.slot + 50)
    chain.advance(6)
    tips = await read_tips(rpc)
    assert tips.confirmed.height == chain.tip.height - 1
    assert tips.finalized.height == chain.tip.height - 4
    assert tips.slot == tips.confirmed.slot > tips.confirmed.height, "slots were skipped"
    assert tips.retains(0)


class Provider(RpcClient):
    """A node that lacks a method."""

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        answers = await super().batch(calls)
        return [
            RpcError(-32601, "Method not found") if method == "getFirstAvailableBlock" else each
            for (method, _), each in zip(calls, answers, strict=True)
        ]


async def test_a_provider_without_a_first_block_is_used_for_everything_else(rpc: RpcClient) -> None:
    tips = await read_tips(Provider(rpc._transport))
    assert tips.first_block is None
    assert not tips.retains(10**9)
    assert tips.confirmed.slot > 0


async def test_a_node_that_refuses_gives_no_tips(rpc: RpcClient, localnet: Localnet) -> None:
    localnet.running.faults.rpc.append(Fail(code=-32000))
    with pytest.raises((RpcError, ChainUnavailable)):
        await read_tips(rpc)


async def test_a_final_block_says_what_is_in_it(
    rpc: RpcClient, chain: LocalnetChain, localnet: Localnet
) -> None:
    landed = await airdrop(rpc)
    slot = chain.tip.slot
    assert await final_block(rpc, slot) is None, "not final yet"
    chain.skip_to(slot + 3)
    chain.advance(6)
    block = await final_block(rpc, slot)
    assert block is not None
    assert landed in block
    assert await final_block(rpc, slot + 1) == frozenset(), "skipped"
    localnet.running.faults.history.first_slot = slot + 2
    assert await final_block(rpc, slot) is None, "forgotten"
