"""Killed at any line, in a storm, or twice at once: one effect each, and a true end."""

from __future__ import annotations

import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.rpc_client import RpcClient, StatusesAt
from cvms.chain.transactions.versioned import message_hash, message_of, signature_of
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainUnavailable, RpcError
from cvms.localnet.node.faults import SendFaults
from cvms.nursery.submission.submitter import Submitter
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import fee_budget, submissions
from cvms.store.submissions.fee_budget import FeeBudget
from cvms.store.submissions.submissions import State
from tests.nursery.submission.signed_withdrawals import accept, submission
from tests.nursery.world import World, address, until

ENDS = frozenset({State.FINALIZED, State.FAILED, State.EXPIRED, State.QUARANTINED})


class Killed(BaseException):
    """The process ends here."""


class Fuse:
    """Lets so many steps pass, and kills at the next."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class FusedDatabase:
    """Can be killed before each use, and after it; in a transaction also just before its end."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        self._database = database
        self._fuse = fuse

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self._fuse.step()
        async with self._database.connection() as conn:
            yield conn
        self._fuse.step()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self._fuse.step()
        async with self._database.transaction() as conn:
            yield conn
            self._fuse.step()
        self._fuse.step()


class FusedRpc(RpcClient):
    """Can be killed before each call is sent, and when its answer is there."""

    def __init__(self, rpc: RpcClient, fuse: Fuse) -> None:
        super().__init__(rpc._transport)
        self._fuse = fuse

    async def batch(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any | RpcError]:
        self._fuse.step()
        answers = await super().batch(calls)
        self._fuse.step()
        return answers

    async def statuses_everywhere(
        self, signatures: Sequence[str], *, min_context_slot: Slot
    ) -> StatusesAt:
        self._fuse.step()
        seen = await super().statuses_everywhere(signatures, min_context_slot=min_context_slot)
        self._fuse.step()
        return seen

    async def send_everywhere(self, wire: bytes, **options: Any) -> str:
        self._fuse.step()
        signature = await super().send_everywhere(wire, **options)
        self._fuse.step()
        return signature


def fused(world: World, fuse: Fuse) -> Submitter:
    submitter = world.submitter(rpc=FusedRpc(world.rpc, fuse))
    submitter._database = FusedDatabase(world.database, fuse)  # type: ignore[assignment]
    return submitter


async def stillborn(world: World, owner: Keypair) -> str:
    """A submission that can never land, and is charged to the owner."""
    deposit = world.deposit(owner, 1)
    message = MessageV0.try_compile(owner.pubkey(), [deposit], [], Hash.new_unique())
    return await charged(world, owner, VersionedTransaction(message, [owner]))


async def charged(world: World, owner: Keypair, transaction: VersionedTransaction) -> str:
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
            last_valid_block_height=height + 2,
            since_slot=await world.rpc.get_slot(Commitment.CONFIRMED),
        )
        await fee_budget.charge(
            conn, message_hash(message), 7, owner=address(owner), budget=FeeBudget(None, None)
        )
    return signature_of(transaction)


async def test_killed_at_any_line_each_has_one_effect_and_a_true_end(world: World) -> None:
    """A landing, a failing and an expiring one, for every line at which a submitter can end."""
    owner = await world.owner()
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    balance, steps, killed = 0, 0, True
    while killed:
        lands = await accept(world, owner, world.deposit(owner, steps + 1))
        fails = await accept(world, owner, world.withdraw(owner, 10**6 + steps))
        expires = await stillborn(world, owner)
        fuse = Fuse(steps)
        killed = await run_to_the_end(world, fuse, [lands, fails, expires])
        balance += steps + 1
        states = [(await submission(world, each)).state for each in (lands, fails, expires)]
        assert states == [State.FINALIZED, State.FAILED, State.EXPIRED], steps
        (vault,) = await world.on_chain()
        assert vault.row.total == balance, steps
        steps += 1
    assert steps > 30, "there are more lines than that"
    await only_sense_was_told(world)
    async with world.database.connection() as conn:
        assert await fee_budget.spent_today(conn, address(owner)) == 0
        assert await fee_budget.spent_today(conn) == 0


async def run_to_the_end(world: World, fuse: Fuse, signatures: Sequence[str]) -> bool:
    """Rounds until all have ended; whether the fuse has killed a submitter on the way."""
    killed, submitter = False, fused(world, fuse)
    for _ in range(20):
        try:
            await submitter.run_once()
        except BaseException as error:
            if not has_killed(error):
                raise
            killed, submitter = True, world.submitter()
        world.chain.chain.advance(2)
        if {(await submission(world, each)).state for each in signatures} <= ENDS:
            return killed
    raise AssertionError("they do not come to an end")


def has_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(has_killed, error.exceptions))
    return isinstance(error, Killed)


async def only_sense_was_told(world: World) -> None:
    """Of each transaction no state twice in a row, nothing after its end, and its end."""
    told: dict[str | None, list[tuple[Any, ...]]] = {}
    for row in await world.outbox("transaction_update"):
        told.setdefault(row.signature, []).append((row.data["status"], row.data["slot"]))
    for signature, updates in told.items():
        assert all(one != other for one, other in itertools.pairwise(updates)), updates
        assert [status in ENDS for status, _ in updates] == [False] * (len(updates) - 1) + [True]
        assert signature is not None
        assert (await submission(world, signature)).state == updates[-1][0]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_in_a_storm_what_ended_well_is_on_the_chain_and_nothing_else(
    world: World, seed: int
) -> None:
    """Forks, sends that are dropped, late or unanswered, restarts, and two replicas at once."""
    dice = random.Random(seed)
    owner, chain, faults = await world.owner(), world.chain.chain, world.chain.faults
    chain.pause()
    chain.advance(6)
    amounts: dict[str, int] = {}
    submitters = [world.submitter(), world.submitter()]

    async def one_round(number: int) -> None:
        try:
            await submitters[number].run_once()
        except ChainUnavailable:
            submitters[number] = world.submitter()  # as the supervisor does

    async def available() -> bool:
        return world.rpc.available

    faults.sends = SendFaults(drop=0.4, late=0.3, late_blocks=3, lose_answer=0.05)
    for turn in range(60):
        await until(available)
        if turn < 30:
            height = await world.rpc.get_block_height(Commitment.CONFIRMED)
            amount = 1 << turn % 16
            last_valid = height + dice.randrange(12)
            signature = await accept(
                world, owner, world.deposit(owner, amount), last_valid=last_valid
            )
            amounts[signature] = amount
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(one_round, number)
        if dice.random() < 0.3:
            chain.fork(dice.randrange(1, 4))
        chain.advance(dice.randrange(1, 3))
    faults.clear()
    await until(available)
    ended: list[State] = []
    for _ in range(30):
        chain.advance(2)
        await one_round(0)
        ended = [(await submission(world, each)).state for each in amounts]
    assert set(ended) <= {State.FINALIZED, State.EXPIRED}
    assert len(set(ended)) == 2, "in this storm some land and some do not"
    (vault,) = await world.on_chain()
    good = zip(amounts.values(), ended, strict=True)
    assert vault.row.total == sum(amount for amount, end in good if end is State.FINALIZED)
    await only_sense_was_told(world)
