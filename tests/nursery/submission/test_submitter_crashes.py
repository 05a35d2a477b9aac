"""Under kills, faults and concurrency, each submission has one effect and the right final state."""

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

from cvms.chain.rpc.responses import StatusesAt
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.call_state import Call
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

TERMINAL_STATES = frozenset({State.FINALIZED, State.FAILED, State.EXPIRED, State.QUARANTINED})


class Killed(BaseException):
    """The process was killed."""


class Fuse:
    """Raises Killed after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def step(self) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class FusedDatabase:
    """A database with a step before and after each use, and before each commit."""

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
    """An RPC client with a step before each call and after its reply."""

    def __init__(self, rpc: RpcClient, fuse: Fuse) -> None:
        super().__init__(rpc._transport)
        self._fuse = fuse

    async def batch(self, calls: Sequence[Call]) -> list[Any | RpcError]:
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


def killable_submitter(world: World, fuse: Fuse) -> Submitter:
    submitter = world.submitter(rpc=FusedRpc(world.rpc, fuse))
    submitter.database = FusedDatabase(world.database, fuse)  # type: ignore[assignment]
    return submitter


async def accept_expired(world: World, owner: Keypair) -> str:
    """Record a submission that can never land, charged to the owner."""
    deposit = world.deposit(owner, 1)
    message = MessageV0.try_compile(owner.pubkey(), [deposit], [], Hash.new_unique())
    return await accept_charged(world, owner, VersionedTransaction(message, [owner]))


async def accept_charged(world: World, owner: Keypair, transaction: VersionedTransaction) -> str:
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


@pytest.mark.slow(seconds=15)
async def test_killed_at_any_step_each_has_one_effect_and_the_right_final_state(
    world: World,
) -> None:
    """One lands, one fails and one expires, for every step at which the submitter can be killed."""
    owner = await world.owner()
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    balance, steps, killed = 0, 0, True
    while killed:
        lands = await accept(world, owner, world.deposit(owner, steps + 1))
        fails = await accept(world, owner, world.withdraw(owner, 10**6 + steps))
        expires = await accept_expired(world, owner)
        fuse = Fuse(steps)
        killed = await run_until_terminal(world, fuse, [lands, fails, expires])
        balance += steps + 1
        states = [(await submission(world, each)).state for each in (lands, fails, expires)]
        assert states == [State.FINALIZED, State.FAILED, State.EXPIRED], steps
        (vault,) = await world.on_chain()
        assert vault.row.total == balance, steps
        steps += 1
    assert steps > 30, "there are more steps than that"
    await check_published_states(world)
    async with world.database.connection() as conn:
        assert await fee_budget.spent_today(conn, address(owner)) == 0
        assert await fee_budget.spent_today(conn) == 0


async def run_until_terminal(world: World, fuse: Fuse, signatures: Sequence[str]) -> bool:
    """Run submitters until all submissions have ended. Return whether one was killed."""
    killed, submitter = False, killable_submitter(world, fuse)
    for _ in range(20):
        try:
            await submitter.run_once()
        except BaseException as error:
            if not is_killed(error):
                raise
            killed, submitter = True, world.submitter()
        world.chain.chain.advance(2)
        if {(await submission(world, each)).state for each in signatures} <= TERMINAL_STATES:
            return killed
    raise AssertionError("the submissions do not end")


def is_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_killed, error.exceptions))
    return isinstance(error, Killed)


async def check_published_states(world: World) -> None:
    """Check that no state was published twice in a row, and the terminal one last."""
    published: dict[str | None, list[tuple[Any, ...]]] = {}
    for row in await world.outbox("transaction_update"):
        published.setdefault(row.signature, []).append((row.data["status"], row.data["slot"]))
    for signature, updates in published.items():
        assert all(one != other for one, other in itertools.pairwise(updates)), updates
        assert [status in TERMINAL_STATES for status, _ in updates] == [False] * (
            len(updates) - 1
        ) + [True]
        assert signature is not None
        assert (await submission(world, signature)).state == updates[-1][0]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_under_faults_exactly_the_finalized_ones_are_on_the_chain(
    world: World, seed: int
) -> None:
    """Forks, lost, late and unanswered sends, restarts, and two replicas at once."""
    rng = random.Random(seed)
    owner, chain, faults = await world.owner(), world.chain.chain, world.chain.faults
    chain.pause()
    chain.advance(6)
    amounts: dict[str, int] = {}
    submitters = [world.submitter(), world.submitter()]

    async def run_submitter(number: int) -> None:
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
            last_valid = height + rng.randrange(12)
            signature = await accept(
                world, owner, world.deposit(owner, amount), last_valid=last_valid
            )
            amounts[signature] = amount
        async with trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(run_submitter, number)
        if rng.random() < 0.3:
            chain.fork(rng.randrange(1, 4))
        chain.advance(rng.randrange(1, 3))
    faults.clear()
    await until(available)
    ended: list[State] = []
    for _ in range(30):
        chain.advance(2)
        await run_submitter(0)
        ended = [(await submission(world, each)).state for each in amounts]
    assert set(ended) <= {State.FINALIZED, State.EXPIRED}
    assert len(set(ended)) == 2, "some should land and some should not"
    (vault,) = await world.on_chain()
    good = zip(amounts.values(), ended, strict=True)
    assert vault.row.total == sum(amount for amount, end in good if end is State.FINALIZED)
    await check_published_states(world)
