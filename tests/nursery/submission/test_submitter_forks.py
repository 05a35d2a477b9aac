"""What a fork drops is sent again, and every submission ends in the right state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.chain.rpc.responses import StatusesAt
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainUnavailable
from cvms.localnet.node.faults import SendFaults
from cvms.nursery.submission.outcome import QUARANTINE_AFTER_BLOCKS
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import accept, published_states, submission
from tests.nursery.world import World, until


async def step(world: World, blocks: int = 1, *, rpc: RpcClient | None = None) -> None:
    """Produce blocks, then run a freshly started submitter once."""
    world.chain.chain.advance(blocks)
    await world.submitter(rpc=rpc).run_once()


async def state(world: World, signature: str) -> tuple[State, bool, bool]:
    """Return the state, whether it has a slot, and whether it has an error."""
    row = await submission(world, signature)
    return row.state, row.slot is not None, row.error is not None


async def balance(world: World) -> int:
    (vault,) = await world.on_chain()
    return vault.row.total


async def confirmed(world: World, owner: Keypair, signature: str) -> None:
    await world.submitter().run_once()
    await step(world)
    assert (await submission(world, signature)).state is State.CONFIRMED


async def test_one_whose_block_is_dropped_is_sent_again_and_has_one_effect(paused: World) -> None:
    owner = await paused_owner(paused)
    signature = await accept(paused, owner, paused.deposit(owner, 5))
    await confirmed(paused, owner, signature)
    paused.chain.chain.fork(2)
    assert await balance(paused) == 0
    await step(paused, 0)
    assert await state(paused, signature) == (State.SUBMITTED, False, False)
    for _ in range(6):
        await step(paused)
    assert await state(paused, signature) == (State.FINALIZED, True, False)
    assert await balance(paused) == 5
    assert await published_states(paused) == [
        "submitted",
        "confirmed",
        "submitted",
        "confirmed",
        "finalized",
    ]


async def test_one_that_lands_in_both_forks_is_followed_to_its_new_block(paused: World) -> None:
    owner = await paused_owner(paused)
    signature = await accept(paused, owner, paused.deposit(owner, 5))
    await confirmed(paused, owner, signature)
    before = (await submission(paused, signature)).slot
    paused.chain.chain.fork(2, again=lambda entries: entries)
    for _ in range(6):
        await step(paused)
    after = await submission(paused, signature)
    assert after.state is State.FINALIZED
    assert before is not None
    assert after.slot is not None
    assert after.slot > before
    assert await balance(paused) == 5


async def test_one_that_never_lands_again_expires_without_quarantine(paused: World) -> None:
    owner = await paused_owner(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    step_in = paused.deposit(owner, 5)
    signature = await accept(paused, owner, step_in, last_valid=height + 3)
    await confirmed(paused, owner, signature)
    paused.chain.chain.fork(2)
    paused.chain.faults.sends = SendFaults(drop=1)
    for _ in range(10):
        await step(paused)
    assert await state(paused, signature) == (State.EXPIRED, False, False)
    assert await balance(paused) == 0
    assert await published_states(paused) == ["submitted", "confirmed", "submitted", "expired"]


async def test_a_failure_may_turn_out_a_success_on_the_fork_that_wins(paused: World) -> None:
    owner = await paused_owner(paused)
    signature = await accept(paused, owner, paused.withdraw(owner, 6))
    await paused.submitter().run_once()
    await step(paused)
    assert await state(paused, signature) == (State.SUBMITTED, True, True)
    paused.chain.chain.fork(2)
    await paused.act(owner, paused.deposit(owner, 10), wait=False)
    await step(paused, 0)
    assert await state(paused, signature) == (State.SUBMITTED, False, False)
    for _ in range(6):
        await step(paused)
    assert await state(paused, signature) == (State.FINALIZED, True, False)
    assert await balance(paused) == 4


async def test_a_success_may_turn_out_a_failure_on_the_fork_that_wins(paused: World) -> None:
    owner = await paused_owner(paused, vault=5)
    signature = await accept(paused, owner, paused.withdraw(owner, 5))
    await confirmed(paused, owner, signature)
    paused.chain.chain.fork(2)
    await paused.act(owner, paused.withdraw(owner, 4), wait=False)
    for _ in range(7):
        await step(paused)
    assert await state(paused, signature) == (State.FAILED, True, True)
    assert await balance(paused) == 1
    assert await published_states(paused) == [
        "submitted",
        "confirmed",
        "submitted",
        "submitted",
        "failed",
    ]


class Mixed(RpcClient):
    """Statuses from one node and everything else from another, as behind a load balancer."""

    def __init__(self, others: RpcClient, statuses: RpcClient) -> None:
        super().__init__(others._transport)
        self._statuses = statuses

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        return await self._statuses.statuses_everywhere(
            signatures, min_context_slot=min_context_slot
        )


@pytest.fixture
async def lagging(paused: World, nursery: trio.Nursery) -> AsyncIterator[Mixed]:
    """An RPC client whose statuses come from a node that is eight blocks behind."""
    faults = localnet.NodeFaults(lag=8)
    serve = partial(localnet.serve_node, paused.chain.chain, faults=faults)
    behind: localnet.Running = await nursery.start(serve)
    async with open_rpc([behind.rpc_url]) as rpc:
        yield Mixed(paused.rpc, rpc)


async def test_a_node_that_is_behind_makes_nothing_expire(paused: World, lagging: Mixed) -> None:
    owner = await paused_owner(paused)
    paused.chain.chain.advance(8)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    landing = paused.deposit(owner, 5)
    signature = await accept(paused, owner, landing, last_valid=height + 1)
    await paused.submitter().run_once()
    for _ in range(7):
        await step(paused, rpc=lagging)
    assert (await submission(paused, signature)).state is State.SUBMITTED
    await step(paused)
    assert (await submission(paused, signature)).state is State.FINALIZED


async def test_a_node_that_is_behind_rolls_nothing_back(paused: World, lagging: Mixed) -> None:
    owner = await paused_owner(paused)
    paused.chain.chain.advance(8)
    signature = await accept(paused, owner, paused.deposit(owner, 5))
    await confirmed(paused, owner, signature)
    await step(paused, 0, rpc=lagging)
    assert await published_states(paused) == ["submitted", "confirmed"]


async def test_a_status_from_any_node_counts(paused: World, nursery: trio.Nursery) -> None:
    """The preferred node no longer has the block."""
    owner = await paused_owner(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    landing = paused.deposit(owner, 5)
    signature = await accept(paused, owner, landing, last_valid=height + 1)
    await paused.submitter().run_once()
    paused.chain.chain.advance(20)
    faults = localnet.NodeFaults()
    faults.history.first_slot = paused.chain.chain.tip.slot - 5
    serve = partial(localnet.serve_node, paused.chain.chain, faults=faults)
    forgetful: localnet.Running = await nursery.start(serve)
    async with open_rpc([forgetful.rpc_url, paused.chain.rpc_url]) as rpc:
        await step(paused, rpc=rpc)
    assert (await submission(paused, signature)).state is State.FINALIZED


async def test_a_node_without_the_blocks_makes_nothing_expire_but_quarantines(
    paused: World,
) -> None:
    owner = await paused_owner(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    landing = paused.deposit(owner, 5)
    signature = await accept(paused, owner, landing, last_valid=height + 1)
    await paused.submitter().run_once()
    paused.chain.chain.advance(20)
    paused.chain.faults.history.first_slot = paused.chain.chain.tip.slot - 5
    await step(paused)
    assert (await submission(paused, signature)).state is State.SUBMITTED
    await step(paused, QUARANTINE_AFTER_BLOCKS)
    assert (await submission(paused, signature)).state is State.QUARANTINED
    gauge = "cvms_transaction_submissions_under_way"
    await paused.submitter().run_once()
    assert paused.metrics.registry.get_sample_value(gauge, {"state": "quarantined"}) == 1


class Denying(RpcClient):
    """A node that has lost its index of signatures, and reports no status for any."""

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        seen = await super().statuses_everywhere(signatures, min_context_slot=min_context_slot)
        return StatusesAt(seen.slot, [None] * len(signatures))


async def test_one_that_was_seen_expires_only_if_its_block_was_dropped(paused: World) -> None:
    owner = await paused_owner(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    landing = paused.deposit(owner, 5)
    signature = await accept(paused, owner, landing, last_valid=height + 3)
    await confirmed(paused, owner, signature)
    denying = Denying(paused.rpc._transport)
    for _ in range(10):
        await step(paused, rpc=denying)
    assert (await submission(paused, signature)).state is State.SUBMITTED
    await step(paused)
    assert (await submission(paused, signature)).state is State.FINALIZED


async def test_lost_late_or_unanswered_sends_change_nothing(paused: World) -> None:
    owner = await paused_owner(paused)
    expected = {}
    for amount, faults in (
        (1, SendFaults(drop=1)),
        (2, SendFaults(late=1, late_blocks=3)),
        (4, SendFaults(lose_answer=1)),
    ):
        signature = await accept(paused, owner, paused.deposit(owner, amount))
        paused.chain.faults.sends = faults
        try:
            await paused.submitter().run_once()
        except ChainUnavailable:
            assert faults.lose_answer
        expected[signature] = State.FINALIZED
    paused.chain.faults.clear()

    async def answers() -> bool:
        return paused.rpc.available  # three lost replies suspend an endpoint for a moment

    await until(answers)
    for _ in range(10):
        await step(paused)
    assert {each: (await submission(paused, each)).state for each in expected} == expected
    assert await balance(paused) == 7


async def paused_owner(world: World, *, vault: int = 0) -> Keypair:
    """Create a wallet with a vault that holds so much, all of it finalized."""
    world.chain.chain.resume()
    owner = await world.owner()
    if vault:
        await world.act(owner, world.deposit(owner, vault))
    world.chain.chain.pause()
    world.chain.chain.advance(8)
    return owner
