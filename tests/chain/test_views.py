"""What one node knows: enough to say that a transaction is nowhere, or not enough."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.signature import Signature

from cvms.chain.rpc import Rpc, open_rpc
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.chain.views import StatusView, Tip, Tips, final_block, read_status_view, read_tips
from cvms.errors import ChainUnavailable, RpcError
from cvms.localnet.chain import Chain
from cvms.localnet.faults import Fail
from tests.conftest import Localnet


@pytest.fixture
async def rpc(localnet: Localnet) -> AsyncIterator[Rpc]:
    async with open_rpc([localnet.rpc_url]) as rpc:
        localnet.running.chain.pause()
        yield rpc


@pytest.fixture
def chain(localnet: Localnet) -> Chain:
    return localnet.running.chain


async def airdrop(rpc: Rpc) -> str:
    signature: str = await rpc.call("requestAirdrop", [str(Keypair().pubkey()), 10**9])
    return signature


async def test_a_view_holds_what_the_node_says_at_once(rpc: Rpc, chain: Chain) -> None:
    landed, nowhere = await airdrop(rpc), str(Signature.new_unique())
    chain.skip_to(chain.tip.slot + 50)
    chain.advance(6)
    tips = await read_tips(rpc)
    view = await read_status_view(rpc, [nowhere, landed])
    unknown, final = view.statuses
    assert unknown is None
    assert final is not None
    assert final.commitment is Commitment.FINALIZED
    assert (view.slot, view.first_block) == (chain.tip.slot, 0)
    assert view.finalized == tips.finalized
    assert tips.confirmed.height == chain.tip.height - 1
    assert tips.confirmed.slot > tips.confirmed.height, "slots were skipped"


class Provider(Rpc):
    """Does not offer every method of a node."""

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        answers = await super().batch(calls)
        return [
            RpcError(-32601, "Method not found") if method == "getFirstAvailableBlock" else each
            for (method, _), each in zip(calls, answers, strict=True)
        ]


async def test_a_provider_without_a_first_block_is_believed_in_all_else(rpc: Rpc) -> None:
    view = await read_status_view(Provider(rpc._transport), [])
    assert view.first_block is None
    assert not view.remembers(10**9)


async def test_a_node_that_refuses_gives_no_view(rpc: Rpc, localnet: Localnet) -> None:
    localnet.running.faults.rpc.append(Fail(code=-32000))
    with pytest.raises((RpcError, ChainUnavailable)):
        await read_tips(rpc)
    with pytest.raises((RpcError, ChainUnavailable)):
        await read_status_view(rpc, [])


async def test_a_final_block_says_what_is_in_it(rpc: Rpc, chain: Chain, localnet: Localnet) -> None:
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


@pytest.mark.parametrize(
    ("ran", "final", "knows"), [(110, 100, True), (109, 100, False), (110, 99, False)]
)
def test_a_node_knows_enough_only_with_all_that_others_have(
    ran: int, final: int, knows: bool
) -> None:
    tips = Tips(confirmed=tip(110), finalized=tip(100))
    assert StatusView((), Slot(ran), tip(final), None).knows(tips) is knows


def tip(slot: int) -> Tip:
    return Tip(Slot(slot), BlockHeight(slot - 5))
