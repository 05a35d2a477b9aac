"""Signed transactions are sent, always the same bytes, until their outcome is final."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment
from cvms.errors import ChainTimeout, ChainUnavailable
from cvms.localnet.node.faults import Cut, Fail
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import (
    accept,
    published_states,
    submission,
    until_state,
)
from tests.nursery.world import World, running, until


class Node(RpcClient):
    """A node that loses the first transactions it is sent, or replies to them too late."""

    def __init__(self, real: RpcClient, *, loses: int = 0, late: int = 0) -> None:
        super().__init__(real._transport)
        self.loses, self.late = loses, late
        self.sent: list[bytes] = []

    async def send_everywhere(self, wire: bytes, **options: Any) -> str:
        self.sent.append(wire)
        number = len(self.sent)
        if number <= self.loses:
            return "accepted and lost"
        signature = await super().send_everywhere(wire, **options)
        if number <= self.late:
            raise ChainTimeout("no reply within the deadline")
        return signature


def count_of_state(world: World, state: State) -> float | None:
    return sample(world, "cvms_transaction_submissions_total", state=state.value)


def sample(world: World, name: str, **labels: str) -> float | None:
    return world.metrics.registry.get_sample_value(name, labels)


async def test_a_transaction_is_followed_to_finality_and_each_state_published_once(
    world: World,
) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    submitter = world.submitter(resend_seconds=2)
    await until_state(world, submitter, signature, State.FINALIZED)
    assert await submitter.run_once() == 0
    assert await published_states(world) == ["submitted", "confirmed", "finalized"]
    assert [count_of_state(world, each) for each in (State.SUBMITTED, State.FINALIZED)] == [1, 1]
    assert (await submission(world, signature)).slot is not None


async def test_a_lost_transaction_is_sent_again_with_the_same_bytes(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=2)
    await until_state(world, world.submitter(rpc=node), signature, State.CONFIRMED)
    assert len(node.sent) >= 3
    assert len(set(node.sent)) == 1
    assert sample(world, "cvms_transaction_resends_total") == len(node.sent) - 1
    assert sample(world, "cvms_transaction_confirmation_seconds_count") == 1
    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 5, 5)]


async def test_nothing_is_sent_again_before_the_interval_has_passed(world: World) -> None:
    owner = await world.owner()
    await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=100)
    submitter = world.submitter(rpc=node, resend_seconds=1_000)
    for _ in range(3):
        await submitter.run_once()
    assert len(node.sent) == 1


async def test_killed_between_sending_and_recording_it_has_one_effect(
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


async def test_a_restart_resumes_from_the_table(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=1)
    await world.submitter(rpc=node).run_once()
    assert (await submission(world, signature)).state is State.SUBMITTED
    await until_state(world, world.submitter(rpc=node), signature, State.FINALIZED)
    assert await published_states(world) == ["submitted", "confirmed", "finalized"]


async def test_two_submitters_at_once_have_one_effect_and_publish_it_once(world: World) -> None:
    owner = await world.owner()
    signatures = [await accept(world, owner, world.deposit(owner, n)) for n in (1, 2, 3)]
    world.resources.submit_wake.wake()

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


async def test_a_failure_is_recorded_with_the_error_of_the_program(world: World) -> None:
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
        ("submitted", error),  # in a block that is not final yet
        ("failed", error),
    ]
    assert count_of_state(world, State.FAILED) == 1


async def test_a_failure_without_logs_is_recorded(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.withdraw(owner, 6))
    world.chain.faults.rpc.append(Fail(methods=["getTransaction"]))
    await until_state(world, world.submitter(), signature, State.FAILED)
    error = (await submission(world, signature)).error
    assert error is not None
    assert (error["code"], error["logs"]) == (6002, [])


class NulLogs(RpcClient):
    """A node whose logs contain NUL, which PostgreSQL's JSON cannot hold."""

    async def get_transactions(self, *given: Any, **options: Any) -> list[TransactionRecord | None]:
        records = await super().get_transactions(*given, **options)
        return [record and replace(record, logs=["Program log: \0"]) for record in records]


async def test_a_failure_with_unstorable_logs_is_recorded(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.withdraw(owner, 6))
    await until_state(
        world, world.submitter(rpc=NulLogs(world.rpc._transport)), signature, State.FAILED
    )
    error = (await submission(world, signature)).error
    assert error is not None
    assert error["logs"] == ["Program log: \N{REPLACEMENT CHARACTER}"]


async def test_submissions_in_flight_are_counted_by_state_and_age(world: World) -> None:
    owner = await world.owner()
    await accept(world, owner, world.deposit(owner, 5))
    await world.execute("UPDATE submissions SET signed_at = now() - INTERVAL '90 s'")
    await world.submitter(rpc=Node(world.rpc, loses=100)).run_once()
    assert sample(world, "cvms_transaction_submissions_under_way", state="pending") == 1
    oldest = sample(world, "cvms_transaction_submission_oldest_seconds")
    assert oldest is not None
    assert 90 <= oldest < 120


async def test_a_refused_transaction_delays_no_other_and_is_sent_ever_more_rarely(
    world: World,
) -> None:
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
    assert node.sent.count(b"no transaction") - refusals <= 3, "10 intervals have passed"


async def test_no_reply_at_all_is_an_outage_and_some_replies_are_not(world: World) -> None:
    owner = await world.owner()
    for amount in (1, 2):
        await accept(world, owner, world.deposit(owner, amount))
    world.chain.faults.rpc.append(Cut(methods=["sendTransaction"]))
    with pytest.raises(ChainUnavailable):
        await world.submitter().run_once()
    assert await published_states(world) == []
    world.chain.faults.rpc.clear()
    await world.submitter(rpc=Node(world.rpc, late=1)).run_once()
    assert await published_states(world) == ["submitted"]


async def test_it_expires_only_when_its_last_valid_block_is_finalized(world: World) -> None:
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
    assert len(node.sent) == 1, "it can no longer land"
    assert (await submission(world, signature)).state is State.SUBMITTED

    world.chain.chain.advance(3)
    await submitter.run_once()
    assert (await submission(world, signature)).state is State.EXPIRED
    assert await published_states(world) == ["submitted", "expired"]
    assert await submitter.run_once() == 0
