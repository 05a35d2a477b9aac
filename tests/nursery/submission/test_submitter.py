"""What was signed is sent, the same bytes only, until its fate is certain; and the fate is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from cvms.chain.rpc.rpc_client import RpcClient, TransactionRecord
from cvms.chain.types import Commitment
from cvms.errors import ChainTimeout, ChainUnavailable
from cvms.localnet.node.faults import Cut, Fail
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import accept, submission, told, until_state
from tests.nursery.world import World, running, until


class Node(RpcClient):
    """A node that loses, or answers too late, the first so many transactions it is sent."""

    def __init__(self, real: RpcClient, *, loses: int = 0, late: int = 0) -> None:
        super().__init__(real._transport)
        self.loses, self.late = loses, late
        self.sent: list[bytes] = []

    async def send_everywhere(self, wire: bytes, **options: Any) -> str:
        self.sent.append(wire)
        number = len(self.sent)
        if number <= self.loses:
            return "accepted, and forgotten"
        signature = await super().send_everywhere(wire, **options)
        if number <= self.late:
            raise ChainTimeout("no answer within the deadline")
        return signature


def reached(world: World, state: State) -> float | None:
    return counted(world, "transaction_submissions_total", state=state.value)


def counted(world: World, name: str, **labels: str) -> float | None:
    return world.metrics.registry.get_sample_value(name, labels)


async def test_a_transaction_is_followed_to_finality_and_told_once(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    submitter = world.submitter(resend_seconds=2)
    await until_state(world, submitter, signature, State.FINALIZED)
    assert await submitter.run_once() == 0
    assert await told(world) == ["submitted", "confirmed", "finalized"]
    assert [reached(world, each) for each in (State.SUBMITTED, State.FINALIZED)] == [1, 1]
    assert (await submission(world, signature)).slot is not None


async def test_a_lost_transaction_is_sent_again_with_the_same_bytes(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=2)
    await until_state(world, world.submitter(rpc=node), signature, State.CONFIRMED)
    assert len(node.sent) >= 3
    assert len(set(node.sent)) == 1
    assert counted(world, "transaction_resends_total") == len(node.sent) - 1
    assert counted(world, "transaction_confirmation_seconds_count") == 1
    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 5, 5)]


async def test_resending_waits_its_time(world: World) -> None:
    owner = await world.owner()
    await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=100)
    submitter = world.submitter(rpc=node, resend_seconds=1_000)
    for _ in range(3):
        await submitter.run_once()
    assert len(node.sent) == 1


async def test_killed_between_sending_and_writing_it_down_it_is_not_done_twice(
    world: World,
) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    with pytest.raises(ChainTimeout):
        await world.submitter(rpc=Node(world.rpc, late=1)).run_once()
    assert (await submission(world, signature)).state is State.PENDING
    await until_state(world, world.submitter(), signature, State.FINALIZED)
    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 5, 5)]


async def test_a_restart_goes_on_from_the_table(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=1)
    await world.submitter(rpc=node).run_once()
    assert (await submission(world, signature)).state is State.SUBMITTED
    await until_state(world, world.submitter(rpc=node), signature, State.FINALIZED)
    assert await told(world) == ["submitted", "confirmed", "finalized"]


async def test_two_submitters_at_once_make_one_effect_and_tell_it_once(world: World) -> None:
    owner = await world.owner()
    signatures = [await accept(world, owner, world.deposit(owner, n)) for n in (1, 2, 3)]
    world.submit_wake.wake()

    async def finalized() -> bool:
        states = [(await submission(world, each)).state for each in signatures]
        return all(state is State.FINALIZED for state in states)

    async with running(world.submitter().run, world.submitter().run):
        await until(finalized)
    await world.indexer().catch_up()
    assert sorted(amount for _, amount, _ in await world.history(owner)) == [1, 2, 3]
    rows = await world.outbox("transaction_update")
    updates = [(row.signature, row.data["status"]) for row in rows]
    assert len(updates) == len(set(updates))


async def test_a_refusal_keeps_the_programs_own_words(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 5))
    signature = await accept(world, owner, world.withdraw(owner, 6))
    await until_state(world, world.submitter(), signature, State.FAILED)
    error = (await submission(world, signature)).error
    assert error is not None
    assert (error["code"], error["name"]) == (6002, "InsufficientFunds")
    assert error["logs"]
    updates = [row.data for row in await world.outbox("transaction_update")]
    assert [(each["status"], each["error"]) for each in updates] == [
        ("submitted", None),
        ("submitted", error),  # in a block that is not final: so it looks so far
        ("failed", error),
    ]
    assert reached(world, State.FAILED) == 1


async def test_without_its_logs_a_failure_is_a_failure_all_the_same(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.withdraw(owner, 6))
    world.chain.faults.rpc.append(Fail(methods=["getTransaction"]))
    await until_state(world, world.submitter(), signature, State.FAILED)
    error = (await submission(world, signature)).error
    assert error is not None
    assert (error["code"], error["logs"]) == (6002, [])


class Loud(RpcClient):
    """Its programs log what PostgreSQL's JSON cannot hold."""

    async def get_transactions(self, *given: Any, **options: Any) -> list[TransactionRecord | None]:
        records = await super().get_transactions(*given, **options)
        return [each and replace(each, logs=["Program log: \0"]) for each in records]


async def test_whatever_a_program_logs_its_failure_is_written_down(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.withdraw(owner, 6))
    await until_state(
        world, world.submitter(rpc=Loud(world.rpc._transport)), signature, State.FAILED
    )
    error = (await submission(world, signature)).error
    assert error is not None
    assert error["logs"] == ["Program log: \N{REPLACEMENT CHARACTER}"]


async def test_what_waits_is_counted_by_state_and_age(world: World) -> None:
    owner = await world.owner()
    await accept(world, owner, world.deposit(owner, 5))
    await world.execute("UPDATE submissions SET signed_at = now() - INTERVAL '90 s'")
    await world.submitter(rpc=Node(world.rpc, loses=100)).run_once()
    assert counted(world, "transaction_submissions_under_way", state="pending") == 1
    oldest = counted(world, "transaction_submission_oldest_seconds")
    assert oldest is not None
    assert 90 <= oldest < 120


async def test_one_that_is_refused_holds_nobody_up_and_is_sent_less_and_less(world: World) -> None:
    owner = await world.owner()
    odd = await accept(world, owner, world.deposit(owner, 5))
    async with world.database.connection() as conn:
        await conn.execute("UPDATE submissions SET wire = 'no transaction'")
    good = await accept(world, owner, world.deposit(owner, 6))
    node = Node(world.rpc)
    submitter = world.submitter(rpc=node, resend_seconds=0.01)
    await until_state(world, submitter, good, State.FINALIZED)
    refusals = node.sent.count(b"no transaction")
    assert (await submission(world, odd)).state is State.SUBMITTED
    started = trio.current_time()
    while trio.current_time() - started < 0.1:
        await submitter.run_once()
    assert node.sent.count(b"no transaction") - refusals <= 3, "it was 10 times in this time"


async def test_a_node_that_answers_for_none_is_an_outage_and_for_some_is_not(world: World) -> None:
    owner = await world.owner()
    for amount in (1, 2):
        await accept(world, owner, world.deposit(owner, amount))
    world.chain.faults.rpc.append(Cut(methods=["sendTransaction"]))
    with pytest.raises(ChainUnavailable):
        await world.submitter().run_once()
    assert await told(world) == []
    world.chain.faults.rpc.clear()
    await world.submitter(rpc=Node(world.rpc, late=1)).run_once()
    assert await told(world) == ["submitted"]


async def test_it_expires_only_when_its_last_block_is_final(world: World) -> None:
    owner = await world.owner()
    world.chain.chain.pause()
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    step = world.deposit(owner, 5)
    signature = await accept(world, owner, step, last_valid=height)
    node = Node(world.rpc, loses=1_000)
    submitter = world.submitter(rpc=node)
    await submitter.run_once()
    assert len(node.sent) == 1

    world.chain.chain.advance()
    await submitter.run_once()
    assert len(node.sent) == 1, "it cannot land any more"
    assert (await submission(world, signature)).state is State.SUBMITTED

    world.chain.chain.advance(3)
    await submitter.run_once()
    assert (await submission(world, signature)).state is State.EXPIRED
    assert await told(world) == ["submitted", "expired"]
    assert await submitter.run_once() == 0
