"""That no node knows a submission is no proof that it has expired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.failover import EndpointReply
from cvms.chain.types import Commitment
from cvms.localnet.node.faults import SendFaults
from cvms.nursery.submission.outcome import QUARANTINE_AFTER_BLOCKS
from cvms.store.submissions.submissions import State
from tests.nursery.submission.second_signature import second_signature
from tests.nursery.submission.signed_withdrawals import accept, published_states, submission
from tests.nursery.world import World


class Forgetful(RpcClient):
    """A node whose store of statuses has lost everything, although its blocks are there."""

    async def everywhere(self, method: str, params: Sequence[Any]) -> list[EndpointReply]:
        replies = await super().everywhere(method, params)
        if method != "getSignatureStatuses":
            return replies
        return [
            EndpointReply(
                each.endpoint, each.answer | {"value": [None] * len(each.answer["value"])}
            )
            for each in replies
        ]


async def landed(world: World, owner: Keypair) -> str:
    """Return a submission that is finalized on the chain, of which the row says `submitted`."""
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    signature = await accept(world, owner, world.deposit(owner, 5), last_valid=height + 3)
    await world.submitter().run_once()
    world.chain.chain.advance(20)
    return signature


async def opened(world: World) -> Keypair:
    world.chain.chain.resume()
    owner = await world.owner()
    world.chain.chain.pause()
    world.chain.chain.advance(8)
    return owner


async def test_a_status_that_a_node_has_lost_makes_no_deposit_expire(paused: World) -> None:
    owner = await opened(paused)
    signature = await landed(paused, owner)
    forgetful = Forgetful(paused.rpc._transport)
    for _ in range(3):
        await paused.submitter(rpc=forgetful).run_once()
    assert (await submission(paused, signature)).state is State.SUBMITTED, "its block has it"
    await paused.submitter().run_once()
    assert (await submission(paused, signature)).state is State.FINALIZED


async def test_what_the_index_has_applied_is_finalized_whatever_a_node_says(paused: World) -> None:
    owner = await opened(paused)
    signature = await landed(paused, owner)
    await paused.indexer().catch_up()
    forgetful = Forgetful(paused.rpc._transport)
    await paused.submitter(rpc=forgetful).run_once()
    assert (await submission(paused, signature)).state is State.FINALIZED
    assert await published_states(paused) == ["submitted", "finalized"]


async def test_what_cannot_be_proven_is_quarantined_and_not_expired(paused: World) -> None:
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    signature = await accept(paused, owner, paused.deposit(owner, 5), last_valid=height + 1)
    paused.chain.faults.sends = SendFaults(drop=1)
    await paused.submitter().run_once()
    paused.chain.chain.advance(20)
    paused.chain.faults.history.first_slot = paused.chain.chain.tip.slot - 5
    await paused.submitter().run_once()
    assert (await submission(paused, signature)).state is State.SUBMITTED
    paused.chain.chain.advance(QUARANTINE_AFTER_BLOCKS)
    await paused.submitter().run_once()
    assert (await submission(paused, signature)).state is State.QUARANTINED
    assert "expired" not in await published_states(paused)


async def test_one_in_no_block_expires_by_the_blocks_of_a_single_node(paused: World) -> None:
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    signature = await accept(paused, owner, paused.deposit(owner, 5), last_valid=height + 1)
    paused.chain.faults.sends = SendFaults(drop=1)
    await paused.submitter().run_once()
    paused.chain.chain.advance(20)
    await paused.submitter().run_once()
    assert (await submission(paused, signature)).state is State.EXPIRED


@pytest.mark.parametrize("fails", [False, True])
async def test_a_message_that_its_owner_signed_a_second_time_is_followed(
    paused: World, fails: bool
) -> None:
    """The owner pays the fee, so the second signature is another transaction to the chain."""
    owner = await opened(paused)
    height = await paused.rpc.get_block_height(Commitment.CONFIRMED)
    step = paused.withdraw(owner, 99) if fails else paused.deposit(owner, 5)
    signature = await accept(paused, owner, step, last_valid=height + 3)
    row = await submission(paused, signature)
    assert row.wire is not None
    message = VersionedTransaction.from_bytes(row.wire).message
    second = second_signature(owner, to_bytes_versioned(message), nonce=12345)
    assert str(second) != signature
    wire = bytes(VersionedTransaction.populate(message, [second]))
    assert await paused.rpc.send_transaction(wire) == str(second)
    paused.chain.faults.sends = SendFaults(drop=1)
    await paused.submitter().run_once()
    paused.chain.chain.advance(20)
    await paused.submitter().run_once()
    row = await submission(paused, signature)
    assert row.state is (State.FAILED if fails else State.FINALIZED)
    assert row.landed_signature == str(second)
    assert (row.error is not None) == fails
    last = (await paused.outbox("transaction_update"))[-1]
    assert last.data["status"] == row.state
    assert last.data["landed_signature"] == str(second)
