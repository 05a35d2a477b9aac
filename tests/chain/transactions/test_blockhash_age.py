"""Until when a blockhash that somebody else has fetched can be in a block."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from solders.hash import Hash

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.transactions.blockhash_age import last_height_of
from cvms.localnet.ledger.recent_blocks import MAX_HASH_AGE
from cvms.localnet.types import Commitment
from cvms.metrics import Metrics
from tests.harness.localnet import Localnet
from tests.nursery.world import held_clock


@pytest.fixture
async def rpc(localnet: Localnet) -> AsyncIterator[RpcClient]:
    async with open_rpc((localnet.rpc_url,), metrics=Metrics()) as client:
        yield client


@pytest.mark.parametrize("skipped", [[], [3], [1, 5, 2], [30, 1, 30]])
async def test_the_bound_is_too_high_by_the_skipped_slots_at_most(
    localnet: Localnet, rpc: RpcClient, skipped: list[int]
) -> None:
    chain = localnet.running.chain
    with held_clock(chain):
        chain.advance(10)
        for slots in skipped:
            chain.skip_to(chain.tip.slot + 1 + slots)
        tip = chain.tip
        found = await last_height_of(rpc, tip.blockhash)
        assert found is not None
        assert 0 <= found - (tip.height + MAX_HASH_AGE) <= sum(skipped)
        old = await last_height_of(rpc, chain.blocks.at(Commitment.FINALIZED).blockhash)
        assert old == found  # the chain does not say that it expires earlier


async def test_a_blockhash_is_valid_for_as_long_as_the_chain_accepts_it(
    localnet: Localnet, rpc: RpcClient
) -> None:
    chain = localnet.running.chain
    with held_clock(chain):
        blockhash = chain.tip.blockhash
        first = await last_height_of(rpc, blockhash)
        chain.advance(MAX_HASH_AGE)
        assert await last_height_of(rpc, blockhash) is not None
        assert first is not None
        assert chain.tip.height <= first
        chain.advance(1)
        assert await last_height_of(rpc, blockhash) is None
    assert await last_height_of(rpc, Hash.new_unique()) is None


async def test_a_node_that_is_behind_makes_the_bound_no_lower(
    localnet: Localnet, rpc: RpcClient
) -> None:
    chain = localnet.running.chain
    with held_clock(chain):
        chain.advance(20)
        blockhash = chain.blocks.at(Commitment.FINALIZED).blockhash
        localnet.running.faults.lag = 2
        found = await last_height_of(rpc, blockhash)
        localnet.running.faults.lag = 0
        assert found is not None
        height = chain.blocks.at(Commitment.FINALIZED).height
        assert found >= height + MAX_HASH_AGE
