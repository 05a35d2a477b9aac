"""What was signed is sent, the same bytes only, until its fate is certain; and the fate is told."""

from __future__ import annotations

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from cvms.chain.answers import SignatureStatus
from cvms.chain.rpc import Rpc
from cvms.chain.transactions import message_hash, message_of, signature_of
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.errors import ChainTimeout
from cvms.nursery.fate import Fate, Heights, fate_of
from cvms.nursery.submitter import Submitter
from cvms.store import submissions
from cvms.store.submissions import State, Submission
from tests.nursery.world import World, address, running, until


class Node(Rpc):
    """A node that loses, or answers too late, the first so many transactions it is sent."""

    def __init__(self, real: Rpc, *, loses: int = 0, late: int = 0) -> None:
        super().__init__(real._transport)
        self.loses, self.late = loses, late
        self.sent: list[bytes] = []

    async def send_transaction(self, wire: bytes, **options: Any) -> str:
        self.sent.append(wire)
        if len(self.sent) <= self.loses:
            return "accepted, and forgotten"
        signature = await super().send_transaction(wire, **options)
        if len(self.sent) <= self.late:
            raise ChainTimeout("no answer within the deadline")
        return signature


async def accept(
    world: World, owner: Keypair, *steps: Instruction, last_valid: int | None = None
) -> str:
    """Sign a transaction and write it down as the front end does, unsent."""
    transaction = await world.signed(owner, *steps)
    message = message_of(transaction)
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    async with world.database.transaction() as conn:
        await submissions.record_signed(
            conn,
            message_hash=message_hash(message),
            kind="deposit",
            owner=address(owner),
            signature=signature_of(transaction),
            message=bytes(message),
            wire=bytes(transaction),
            last_valid_block_height=height + 140 if last_valid is None else last_valid,
        )
    return signature_of(transaction)


async def submission(world: World, signature: str) -> Submission:
    async with world.database.connection() as conn:
        found = await submissions.get_by_signature(conn, signature)
    assert found is not None
    return found


async def until_state(world: World, submitter: Submitter, signature: str, state: State) -> None:
    async def reached() -> bool:
        await submitter.round()
        return (await submission(world, signature)).state is state

    await until(reached)


async def told(world: World) -> list[str]:
    return [row.data["status"] for row in await world.outbox("transaction_update")]


def reached(world: World, state: State) -> float | None:
    name = "transaction_submissions_total"
    return world.metrics.registry.get_sample_value(name, {"state": state.value})


async def test_a_transaction_is_followed_to_finality_and_told_once(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    submitter = world.submitter(resend_seconds=2)
    await until_state(world, submitter, signature, State.FINALIZED)
    assert await submitter.round() == 0
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
    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 5, 5)]


async def test_resending_waits_its_time(world: World) -> None:
    owner = await world.owner()
    await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=100)
    submitter = world.submitter(rpc=node, resend_seconds=1_000)
    for _ in range(3):
        await submitter.round()
    assert len(node.sent) == 1


async def test_killed_between_sending_and_writing_it_down_it_is_not_done_twice(
    world: World,
) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    with pytest.raises(ExceptionGroup):
        await world.submitter(rpc=Node(world.rpc, late=1)).round()
    assert (await submission(world, signature)).state is State.PENDING
    await until_state(world, world.submitter(), signature, State.FINALIZED)
    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 5, 5)]


async def test_a_restart_goes_on_from_the_table(world: World) -> None:
    owner = await world.owner()
    signature = await accept(world, owner, world.deposit(owner, 5))
    node = Node(world.rpc, loses=1)
    await world.submitter(rpc=node).round()
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
    last = (await world.outbox("transaction_update"))[-1]
    assert last.data["status"] == "failed"
    assert last.data["error"] == error
    assert reached(world, State.FAILED) == 1


async def test_it_expires_only_when_its_last_block_is_final(world: World) -> None:
    owner = await world.owner()
    world.chain.chain.pause()
    height = await world.rpc.get_block_height(Commitment.CONFIRMED)
    step = world.deposit(owner, 5)
    signature = await accept(world, owner, step, last_valid=height)
    node = Node(world.rpc, loses=1_000)
    submitter = world.submitter(rpc=node)
    await submitter.round()
    assert len(node.sent) == 1

    world.chain.chain.advance()
    await submitter.round()
    assert len(node.sent) == 1, "it cannot land any more"
    assert (await submission(world, signature)).state is State.SUBMITTED

    world.chain.chain.advance(3)
    await submitter.round()
    assert (await submission(world, signature)).state is State.EXPIRED
    assert await told(world) == ["submitted", "expired"]
    assert await submitter.round() == 0


HEIGHTS = Heights(confirmed=BlockHeight(110), finalized=BlockHeight(100))


def status(commitment: Commitment, err: object = None) -> SignatureStatus:
    return SignatureStatus(Slot(7), None, err, commitment)


def row(state: State, last_valid: int) -> Submission:
    now: Any = None
    return Submission(
        message_hash=bytes(32),
        kind="deposit",
        owner="alice",
        state=state,
        signature="5ig",
        message=b"m",
        wire=b"w",
        last_valid_block_height=last_valid,
        amount=1,
        error=None,
        slot=None,
        created_at=now,
        updated_at=now,
    )


@pytest.mark.parametrize(
    ("state", "last_valid", "seen", "fate"),
    [
        (State.PENDING, 110, None, Fate(may_land=True)),
        (State.SUBMITTED, 109, None, Fate()),
        (State.SUBMITTED, 100, None, Fate()),
        (State.SUBMITTED, 99, None, Fate(State.EXPIRED)),
        (State.CONFIRMED, 110, None, Fate(may_land=True)),
        (State.CONFIRMED, 99, None, Fate(State.QUARANTINED)),
        (State.SUBMITTED, 1, status(Commitment.PROCESSED), Fate()),
        (State.SUBMITTED, 1, status(Commitment.PROCESSED, "boom"), Fate()),
        (
            State.SUBMITTED,
            1,
            status(Commitment.CONFIRMED, "boom"),
            Fate(State.FAILED, slot=Slot(7), err="boom"),
        ),
        (
            State.SUBMITTED,
            1,
            status(Commitment.CONFIRMED),
            Fate(State.CONFIRMED, slot=Slot(7)),
        ),
        (State.CONFIRMED, 1, status(Commitment.CONFIRMED), Fate(slot=Slot(7))),
        (
            State.PENDING,
            1,
            status(Commitment.FINALIZED),
            Fate(State.FINALIZED, slot=Slot(7)),
        ),
    ],
)
def test_the_fate_of(
    state: State, last_valid: int, seen: SignatureStatus | None, fate: Fate
) -> None:
    assert fate_of(row(state, last_valid), seen, HEIGHTS) == fate
