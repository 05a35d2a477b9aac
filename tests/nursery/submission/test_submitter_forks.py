"""What a fork takes back is taken back, and sent again: in the end every state is true."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest
import trio
from solders.keypair import Keypair

from cvms import localnet
from cvms.chain.rpc.rpc_client import RpcClient, StatusesAt, open_rpc
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainUnavailable
from cvms.localnet.node.faults import SendFaults
from cvms.nursery.submission.outcome import QUARANTINE_AFTER_BLOCKS
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import accept, submission, told
from tests.nursery.world import World, until


@pytest.fixture
async def still(world: World) -> World:
    """The clock stands: a block comes when the test says so."""
    world.chain.chain.pause()
    return world


async def step(world: World, blocks: int = 1, *, rpc: RpcClient | None = None) -> None:
    """So many blocks, and then a round of a submitter that has just been started."""
    world.chain.chain.advance(blocks)
    await world.submitter(rpc=rpc).run_once()


async def state(world: World, signature: str) -> tuple[State, bool, bool]:
    """The state, whether it names a block, and whether it names an error."""
    row = await submission(world, signature)
    return row.state, row.slot is not None, row.error is not None


async def balance(world: World) -> int:
    (vault,) = await world.on_chain()
    return vault.row.total


async def confirmed(world: World, owner: Keypair, signature: str) -> None:
    await world.submitter().run_once()
    await step(world)
    assert (await submission(world, signature)).state is State.CONFIRMED


async def test_one_whose_block_is_dropped_is_sent_again_and_has_one_effect(still: World) -> None:
    owner = await still_owner(still)
    signature = await accept(still, owner, still.deposit(owner, 5))
    await confirmed(still, owner, signature)
    still.chain.chain.fork(2)
    assert await balance(still) == 0
    await step(still, 0)
    assert await state(still, signature) == (State.SUBMITTED, False, False)
    for _ in range(6):
        await step(still)
    assert await state(still, signature) == (State.FINALIZED, True, False)
    assert await balance(still) == 5
    assert await told(still) == ["submitted", "confirmed", "submitted", "confirmed", "finalized"]


async def test_one_that_lands_in_both_forks_is_followed_to_its_new_block(still: World) -> None:
    owner = await still_owner(still)
    signature = await accept(still, owner, still.deposit(owner, 5))
    await confirmed(still, owner, signature)
    before = (await submission(still, signature)).slot
    still.chain.chain.fork(2, again=lambda entries: entries)
    for _ in range(6):
        await step(still)
    after = await submission(still, signature)
    assert after.state is State.FINALIZED
    assert before is not None
    assert after.slot is not None
    assert after.slot > before
    assert await balance(still) == 5


async def test_one_that_is_dropped_for_good_has_expired_and_nobody_need_look(still: World) -> None:
    owner = await still_owner(still)
    height = await still.rpc.get_block_height(Commitment.CONFIRMED)
    step_in = still.deposit(owner, 5)
    signature = await accept(still, owner, step_in, last_valid=height + 3)
    await confirmed(still, owner, signature)
    still.chain.chain.fork(2)
    still.chain.faults.sends = SendFaults(drop=1)
    for _ in range(10):
        await step(still)
    assert await state(still, signature) == (State.EXPIRED, False, False)
    assert await balance(still) == 0
    assert await told(still) == ["submitted", "confirmed", "submitted", "expired"]


async def test_a_failure_may_turn_out_a_success_on_the_fork_that_wins(still: World) -> None:
    owner = await still_owner(still)
    signature = await accept(still, owner, still.withdraw(owner, 6))
    await still.submitter().run_once()
    await step(still)
    assert await state(still, signature) == (State.SUBMITTED, True, True)
    still.chain.chain.fork(2)
    await still.act(owner, still.deposit(owner, 10), wait=False)
    await step(still, 0)
    assert await state(still, signature) == (State.SUBMITTED, False, False)
    for _ in range(6):
        await step(still)
    assert await state(still, signature) == (State.FINALIZED, True, False)
    assert await balance(still) == 4


async def test_a_success_may_turn_out_a_failure_on_the_fork_that_wins(still: World) -> None:
    owner = await still_owner(still, vault=5)
    signature = await accept(still, owner, still.withdraw(owner, 5))
    await confirmed(still, owner, signature)
    still.chain.chain.fork(2)
    await still.act(owner, still.withdraw(owner, 4), wait=False)
    for _ in range(7):
        await step(still)
    assert await state(still, signature) == (State.FAILED, True, True)
    assert await balance(still) == 1
    assert await told(still) == ["submitted", "confirmed", "submitted", "submitted", "failed"]


class Mixed(RpcClient):
    """Statuses from one node, everything else from another, as behind a balancing proxy."""

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
async def lagging(still: World, nursery: trio.Nursery) -> AsyncIterator[Mixed]:
    """Statuses come from a node that is eight blocks behind."""
    faults = localnet.NodeFaults(lag=8)
    serve = partial(localnet.serve_node, still.chain.chain, faults=faults)
    behind: localnet.Running = await nursery.start(serve)
    async with open_rpc([behind.rpc_url]) as rpc:
        yield Mixed(still.rpc, rpc)


async def test_a_node_that_is_behind_makes_nothing_expire(still: World, lagging: Mixed) -> None:
    owner = await still_owner(still)
    still.chain.chain.advance(8)
    height = await still.rpc.get_block_height(Commitment.CONFIRMED)
    landing = still.deposit(owner, 5)
    signature = await accept(still, owner, landing, last_valid=height + 1)
    await still.submitter().run_once()
    for _ in range(7):
        await step(still, rpc=lagging)
    assert (await submission(still, signature)).state is State.SUBMITTED
    await step(still)
    assert (await submission(still, signature)).state is State.FINALIZED


async def test_a_node_that_is_behind_takes_nothing_back(still: World, lagging: Mixed) -> None:
    owner = await still_owner(still)
    still.chain.chain.advance(8)
    signature = await accept(still, owner, still.deposit(owner, 5))
    await confirmed(still, owner, signature)
    await step(still, 0, rpc=lagging)
    assert await told(still) == ["submitted", "confirmed"]


async def test_what_any_node_has_seen_counts(still: World, nursery: trio.Nursery) -> None:
    """The preferred one has forgotten it, as a node that keeps no history does."""
    owner = await still_owner(still)
    height = await still.rpc.get_block_height(Commitment.CONFIRMED)
    landing = still.deposit(owner, 5)
    signature = await accept(still, owner, landing, last_valid=height + 1)
    await still.submitter().run_once()
    still.chain.chain.advance(20)
    faults = localnet.NodeFaults()
    faults.history.first_slot = still.chain.chain.tip.slot - 5
    serve = partial(localnet.serve_node, still.chain.chain, faults=faults)
    forgetful: localnet.Running = await nursery.start(serve)
    async with open_rpc([forgetful.rpc_url, still.chain.rpc_url]) as rpc:
        await step(still, rpc=rpc)
    assert (await submission(still, signature)).state is State.FINALIZED


async def test_a_node_that_has_forgotten_makes_nothing_expire_but_calls_a_person(
    still: World,
) -> None:
    owner = await still_owner(still)
    height = await still.rpc.get_block_height(Commitment.CONFIRMED)
    landing = still.deposit(owner, 5)
    signature = await accept(still, owner, landing, last_valid=height + 1)
    await still.submitter().run_once()
    still.chain.chain.advance(20)
    still.chain.faults.history.first_slot = still.chain.chain.tip.slot - 5
    await step(still)
    assert (await submission(still, signature)).state is State.SUBMITTED
    await step(still, QUARANTINE_AFTER_BLOCKS)
    assert (await submission(still, signature)).state is State.QUARANTINED
    gauge = "transaction_submissions_under_way"
    await still.submitter().run_once()
    assert still.metrics.registry.get_sample_value(gauge, {"state": "quarantined"}) == 1


class Denying(RpcClient):
    """A node that has lost its index of signatures, and says of each that it is nowhere."""

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        seen = await super().statuses_everywhere(signatures, min_context_slot=min_context_slot)
        return StatusesAt(seen.slot, [None] * len(signatures))


async def test_one_that_was_seen_expires_only_if_the_block_it_was_in_is_gone(still: World) -> None:
    owner = await still_owner(still)
    height = await still.rpc.get_block_height(Commitment.CONFIRMED)
    landing = still.deposit(owner, 5)
    signature = await accept(still, owner, landing, last_valid=height + 3)
    await confirmed(still, owner, signature)
    denying = Denying(still.rpc._transport)
    for _ in range(10):
        await step(still, rpc=denying)
    assert (await submission(still, signature)).state is State.SUBMITTED
    await step(still)
    assert (await submission(still, signature)).state is State.FINALIZED


async def test_sends_that_are_lost_late_or_unanswered_change_nothing(still: World) -> None:
    owner = await still_owner(still)
    ends = {}
    for amount, faults in (
        (1, SendFaults(drop=1)),
        (2, SendFaults(late=1, late_blocks=3)),
        (4, SendFaults(lose_answer=1)),
    ):
        signature = await accept(still, owner, still.deposit(owner, amount))
        still.chain.faults.sends = faults
        try:
            await still.submitter().run_once()
        except ChainUnavailable:
            assert faults.lose_answer
        ends[signature] = State.FINALIZED
    still.chain.faults.clear()

    async def answers() -> bool:
        return still.rpc.available  # three lost answers put an endpoint aside for a moment

    await until(answers)
    for _ in range(10):
        await step(still)
    assert {each: (await submission(still, each)).state for each in ends} == ends
    assert await balance(still) == 7


async def still_owner(world: World, *, vault: int = 0) -> Keypair:
    """A wallet with a vault that holds so much, all of it final."""
    world.chain.chain.resume()
    owner = await world.owner()
    if vault:
        await world.act(owner, world.deposit(owner, vault))
    world.chain.chain.pause()
    world.chain.chain.advance(8)
    return owner
