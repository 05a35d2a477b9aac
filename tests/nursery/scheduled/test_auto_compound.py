"""What vaults earn is compounded where their owners want it, the service may, and it pays: once."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import Simulation
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.sponsorship_policy import FeeCaps
from cvms.errors import ChainTimeout, ProgramRefused
from cvms.nursery.scheduled.auto_compound import AutoCompounder
from cvms.nursery.submission.operator_submissions import OperatorSubmitter
from cvms.operator_key import OperatorKey
from cvms.store.security import audit_log
from cvms.store.submissions import submissions
from cvms.store.submissions.fee_budget import FeeBudget
from cvms.store.submissions.submissions import Submission
from cvms.store.vaults import vaults, yield_policies
from tests.nursery.indexing.test_every_instruction import YEAR, earn, pool_of
from tests.nursery.scheduled.test_timelock_notices import landed, travel
from tests.nursery.world import World, address, running, until

LENT = 200_000
EARNED = 10_000
"""At 5 % a year, and a little more for the seconds that pass."""


def compounding(
    world: World, *, rpc: RpcClient | None = None, least: int = 1_000, key: Keypair | None = None
) -> AutoCompounder:
    """The task as it is after a start."""
    return AutoCompounder(
        database=world.database,
        rpc=rpc or world.rpc,
        programs=world.programs,
        operator=OperatorSubmitter(
            key=OperatorKey(
                keypair=key or world.operator,
                programs=world.programs,
                caps=FeeCaps(lamports=25_000),
                budget=FeeBudget(owner=None, everybody=None),
            ),
            rpc=rpc or world.rpc,
            programs=world.programs,
            submit_wake=world.submit_wake,
        ),
        pools=[pool_of(world)],
        min_amount=least,
        interval=60.0,
        board=world.board,
    )


async def test_a_years_interest_is_compounded_once(world: World) -> None:
    alice = await lender(world)
    await wants(world, alice)
    await compounding(world).run_once()
    assert await submitted(world) == []

    await travel(world, YEAR)
    await compounding(world).run_once()
    [submission] = await submitted(world)
    assert submission.owner == address(alice)
    assert EARNED <= (submission.amount or 0) <= EARNED + 1
    await compounding(world).run_once()
    await landed(world)
    await compounding(world).run_once()
    assert len(await submitted(world)) == 1
    assert await lent(world, alice) == LENT + (submission.amount or 0)
    assert (await world.history(alice))[-1][:2] == ("yield_compound", submission.amount)
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=9, owner=address(alice))
    assert (entry.actor, entry.action) == ("yields", "compound_yield")
    assert entry.details["tx"] == submission.signature
    assert entry.details["amount"] == submission.amount


async def test_not_below_what_the_owner_wants_nor_what_the_fee_is_worth(world: World) -> None:
    alice = await lender(world)
    await travel(world, YEAR)
    await wants(world, alice, min_amount=2 * EARNED)
    await compounding(world).run_once()
    await wants(world, alice)
    await compounding(world, least=2 * EARNED).run_once()
    assert await submitted(world) == []
    await compounding(world).run_once()
    assert len(await submitted(world)) == 1


async def test_not_unless_the_owner_wants_it(world: World) -> None:
    alice = await lender(world)
    await travel(world, YEAR)
    await compounding(world).run_once()
    await wants(world, alice)
    await wants(world, alice, on=False)
    await compounding(world).run_once()
    assert await submitted(world) == []


async def test_not_once_the_owner_has_changed_his_mind_in_the_middle_of_it(world: World) -> None:
    alice = await lender(world)
    await travel(world, YEAR)
    await wants(world, alice)

    async def no_more() -> None:
        await wants(world, alice, on=False)

    await compounding(world, rpc=Node(world.rpc, meanwhile=no_more)).run_once()
    assert await submitted(world) == []


async def test_not_where_the_service_is_no_delegate_or_not_alone(world: World) -> None:
    stranger = await lender(world, delegate=False)
    several = await lender(world)
    key = several.pubkey()
    multisig = instructions.set_vault_multisig(
        world.programs, owner=key, signers=[key, world.operator.pubkey()], threshold=1
    )
    await world.act(several, multisig)
    await world.indexer().catch_up()
    await travel(world, YEAR)
    for owner in (stranger, several):
        await wants(world, owner)
    node = Node(world.rpc)
    await compounding(world, rpc=node).run_once()
    assert await submitted(world) == []
    assert node.simulated == 0, "who cannot is not even tried"


async def test_a_delegate_that_was_removed_meanwhile_costs_nothing(world: World) -> None:
    """The books do not say so yet; the program does, before anything is sent."""
    alice, bob = await lender(world), await lender(world)
    for owner in (alice, bob):
        await wants(world, owner)
    remove = instructions.remove_delegate(
        world.programs, owner=alice.pubkey(), delegate=world.operator.pubkey()
    )
    await world.act(alice, remove)
    await travel(world, YEAR)
    await compounding(world).run_once()
    assert [each.owner for each in await submitted(world)] == [address(bob)]


async def test_killed_before_it_is_written_down_it_is_done_by_the_next(world: World) -> None:
    alice = await lender(world)
    await wants(world, alice)
    await travel(world, YEAR)
    with pytest.raises(ChainTimeout):
        await compounding(world, rpc=Node(world.rpc, silent=True)).run_once()
    await compounding(world).run_once()
    await landed(world)
    [submission] = await submitted(world)
    assert await lent(world, alice) == LENT + (submission.amount or 0)


async def test_killed_after_that_it_is_sent_by_the_next_and_not_doubled(world: World) -> None:
    """With the same bytes; and while it is confirmed only, none is added to it."""
    alice = await lender(world)
    await wants(world, alice)
    await travel(world, YEAR)
    await compounding(world).run_once()
    [first] = await submitted(world)
    assert first.signature is not None
    await world.submitter().run_once()
    await world.confirm(first.signature)
    await travel(world, YEAR)
    await compounding(world).run_once()
    assert len(await submitted(world)) == 1
    await landed(world)
    await compounding(world).run_once()
    assert len(await submitted(world)) == 2, "what the second year has earned"


async def test_two_at_once_compound_once(world: World) -> None:
    owners = [await lender(world) for _ in range(3)]
    for owner in owners:
        await wants(world, owner)
    await travel(world, YEAR)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(compounding(world).run_once)
        nursery.start_soon(compounding(world).run_once)
    assert sorted(each.owner for each in await submitted(world)) == sorted(map(address, owners))


async def test_an_operator_who_cannot_pay_is_an_error_that_is_seen(world: World) -> None:
    poor = Keypair()
    alice = await lender(world, delegate=False)
    delegate = instructions.add_delegate(
        world.programs, owner=alice.pubkey(), delegate=poor.pubkey()
    )
    await world.act(alice, delegate)
    await world.indexer().catch_up()
    await wants(world, alice)
    await travel(world, YEAR)
    with pytest.raises(ProgramRefused):
        await compounding(world, key=poor).run_once()
    assert await submitted(world) == []


async def test_the_task_does_it_without_being_asked(world: World) -> None:
    alice = await lender(world)
    await wants(world, alice)
    await travel(world, YEAR)

    async def compounded() -> bool:
        return await lent(world, alice) > LENT

    tasks = (world.indexer().run, world.submitter().run, compounding(world).run)
    async with running(*tasks):
        await until(compounded)
    assert world.board.tasks["compounding"].last_success is not None


# --- what the tests do --------------------------------------------------------------------------


class Node(RpcClient):
    """A node that does not answer when something is to be sent, or takes its time to."""

    def __init__(self, real: RpcClient, *, silent: bool = False, meanwhile: Any = None) -> None:
        super().__init__(real._transport)
        self.silent, self.meanwhile, self.simulated = silent, meanwhile, 0

    async def simulate(self, wire: bytes, **options: Any) -> Simulation:
        if self.silent:
            raise ChainTimeout("no answer within the deadline")
        self.simulated += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().simulate(wire, **options)


async def lender(world: World, *, delegate: bool = True) -> Keypair:
    """An owner with tokens in the pool, the service as delegate, and the books that say so."""
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 2 * LENT))
    await earn(world, owner, LENT)
    if delegate:
        trust = instructions.add_delegate(
            world.programs, owner=owner.pubkey(), delegate=world.operator.pubkey()
        )
        await world.act(owner, trust)
    await world.indexer().catch_up()
    return owner


async def wants(world: World, owner: Keypair, *, on: bool = True, min_amount: int = 1) -> None:
    async with world.database.transaction() as conn:
        await yield_policies.put(
            conn,
            owner=address(owner),
            yield_program=str(world.programs.yield_pool),
            auto_compound=on,
            min_amount=min_amount,
        )


async def submitted(world: World) -> list[Submission]:
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT signature FROM submissions ORDER BY created_at")
        found = [
            await submissions.get_by_signature(conn, signature)
            for (signature,) in await cursor.fetchall()
        ]
    return [each for each in found if each is not None]


async def lent(world: World, owner: Keypair) -> int:
    """What the books have in the pool."""
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    return row.yield_deposited
