"""Yield is compounded once, where the policy allows it and it is worth the fee."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import Simulation
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.yields.rates import ProtocolName
from cvms.chain.yields.sources import parse_yield_sources
from cvms.errors import ChainTimeout, ProgramRefused
from cvms.nursery.scheduled.auto_compound import AutoCompounder
from cvms.nursery.wiring.leader_tasks import build_auto_compounder, build_operator_submitter
from cvms.signing.signer_set import SignerSet
from cvms.store.security import audit_log
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import Submission
from cvms.store.vaults import vaults, yield_policies
from tests.harness.resources import signers_of
from tests.nursery.program_steps import YEAR, earn, pool_of
from tests.nursery.scheduled.test_timelock_notices import landed, travel
from tests.nursery.world import World, address, running, until
from tests.signing.faulty_signer import FaultySigner, set_of, signs_again

LENT = 200_000
EARNED = 10_000
"""Interest of 5 % after a year."""


def compounder(
    world: World,
    *,
    rpc: RpcClient | None = None,
    min_amount: int = 1_000,
    key: Keypair | None = None,
    signers: SignerSet | None = None,
) -> AutoCompounder:
    """Return a freshly started compounder."""
    config = replace(
        world.resources.config,
        yield_sources=f"{ProtocolName.YIELD_POOL}:{pool_of(world)}",
        yield_compound_min_amount=min_amount,
    )
    resources = replace(
        world.resources,
        config=config,
        signers=signers or signers_of(key or world.operator),
        rpc=rpc or world.rpc,
        yield_sources=parse_yield_sources(config.yield_sources),
    )
    return build_auto_compounder(resources, build_operator_submitter(resources))


async def test_a_years_interest_is_compounded_once(world: World) -> None:
    alice = await lender(world)
    await set_policy(world, alice)
    await compounder(world).run_once()
    assert await submitted(world) == []

    await travel(world, YEAR)
    await compounder(world).run_once()
    [submission] = await submitted(world)
    assert submission.owner == address(alice)
    assert EARNED <= (submission.amount or 0) <= EARNED + 1
    await compounder(world).run_once()
    await landed(world)
    await compounder(world).run_once()
    assert len(await submitted(world)) == 1
    assert await deposited_in_pool(world, alice) == LENT + (submission.amount or 0)
    assert (await world.history(alice))[-1][:2] == ("yield_compound", submission.amount)
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=9, owner=address(alice))
    assert (entry.actor, entry.action) == ("yields", "compound_yield")
    assert entry.details["tx"] == submission.signature
    assert entry.details["amount"] == submission.amount


async def test_nothing_below_the_minimum_of_the_owner_or_the_service_is_compounded(
    world: World,
) -> None:
    alice = await lender(world)
    await travel(world, YEAR)
    await set_policy(world, alice, min_amount=2 * EARNED)
    await compounder(world).run_once()
    await set_policy(world, alice)
    await compounder(world, min_amount=2 * EARNED).run_once()
    assert await submitted(world) == []
    await compounder(world).run_once()
    assert len(await submitted(world)) == 1


async def test_nothing_is_compounded_unless_the_policy_is_on(world: World) -> None:
    alice = await lender(world)
    await travel(world, YEAR)
    await compounder(world).run_once()
    await set_policy(world, alice)
    await set_policy(world, alice, on=False)
    await compounder(world).run_once()
    assert await submitted(world) == []


async def test_nothing_is_submitted_once_the_policy_is_turned_off_meanwhile(world: World) -> None:
    alice = await lender(world)
    await travel(world, YEAR)
    await set_policy(world, alice)

    async def turn_off() -> None:
        await set_policy(world, alice, on=False)

    await compounder(world, rpc=Node(world.rpc, meanwhile=turn_off)).run_once()
    assert await submitted(world) == []


async def test_vaults_where_the_operator_cannot_sign_alone_are_skipped(world: World) -> None:
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
        await set_policy(world, owner)
    node = Node(world.rpc)
    await compounder(world, rpc=node).run_once()
    assert await submitted(world) == []
    assert node.simulated == 0, "no vault should have been tried"


async def test_a_delegate_that_was_removed_meanwhile_costs_nothing(world: World) -> None:
    """The row is out of date, but the program refuses in the simulation."""
    alice, bob = await lender(world), await lender(world)
    for owner in (alice, bob):
        await set_policy(world, owner)
    remove = instructions.remove_delegate(
        world.programs, owner=alice.pubkey(), delegate=world.operator.pubkey()
    )
    await world.act(alice, remove)
    await travel(world, YEAR)
    await compounder(world).run_once()
    assert [each.owner for each in await submitted(world)] == [address(bob)]


async def test_killed_before_the_submission_is_recorded_the_next_run_compounds(
    world: World,
) -> None:
    alice = await lender(world)
    await set_policy(world, alice)
    await travel(world, YEAR)
    with pytest.raises(ChainTimeout):
        await compounder(world, rpc=Node(world.rpc, silent=True)).run_once()
    await compounder(world).run_once()
    await landed(world)
    [submission] = await submitted(world)
    assert await deposited_in_pool(world, alice) == LENT + (submission.amount or 0)


async def test_killed_after_it_is_recorded_it_is_sent_and_not_repeated(world: World) -> None:
    """While it is only confirmed, no other is made."""
    alice = await lender(world)
    await set_policy(world, alice)
    await travel(world, YEAR)
    await compounder(world).run_once()
    [first] = await submitted(world)
    assert first.signature is not None
    await world.submitter().run_once()
    await world.confirm(first.signature)
    await travel(world, YEAR)
    await compounder(world).run_once()
    assert len(await submitted(world)) == 1
    await landed(world)
    await compounder(world).run_once()
    assert len(await submitted(world)) == 2, "the yield of the second year"


async def test_two_runs_at_once_compound_once(world: World) -> None:
    owners = [await lender(world) for _ in range(3)]
    for owner in owners:
        await set_policy(world, owner)
    await travel(world, YEAR)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(compounder(world).run_once)
        nursery.start_soon(compounder(world).run_once)
    assert sorted(each.owner for each in await submitted(world)) == sorted(map(address, owners))


async def test_an_operator_that_cannot_pay_is_an_error(world: World) -> None:
    poor = Keypair()
    alice = await lender(world, delegate=False)
    delegate = instructions.add_delegate(
        world.programs, owner=alice.pubkey(), delegate=poor.pubkey()
    )
    await world.act(alice, delegate)
    await world.indexer().catch_up()
    await set_policy(world, alice)
    await travel(world, YEAR)
    with pytest.raises(ProgramRefused):
        await compounder(world, key=poor).run_once()
    assert await submitted(world) == []


async def test_compounding_waits_for_the_signer_of_the_delegate(world: World) -> None:
    alice = await lender(world)
    await set_policy(world, alice)
    await travel(world, YEAR)
    other, signer = FaultySigner(), FaultySigner(world.operator, fault="dead")
    signers = set_of(other, signer)
    task = compounder(world, signers=signers)
    assert not await task.run_once(), "it goes on soon"
    assert await task.run_once(), "nobody else can sign"
    assert await submitted(world) == []
    signer.fault = None
    await signs_again(signers)
    assert await task.run_once()
    [submission] = await submitted(world)
    assert submission.owner == address(alice)
    assert other.signed == []


async def test_the_task_compounds_by_itself(world: World) -> None:
    alice = await lender(world)
    await set_policy(world, alice)
    await travel(world, YEAR)

    async def compounded() -> bool:
        return await deposited_in_pool(world, alice) > LENT

    tasks = (world.indexer().run, world.submitter().run, compounder(world).run)
    async with running(*tasks):
        await until(compounded)
    assert world.board.tasks["compounding"].last_success is not None


# --- helpers -----------------------------------------------------------------------------------


class Node(RpcClient):
    """A node that does not reply to simulations, or runs a function during each."""

    def __init__(self, real: RpcClient, *, silent: bool = False, meanwhile: Any = None) -> None:
        super().__init__(real._transport)
        self.silent, self.meanwhile, self.simulated = silent, meanwhile, 0

    async def simulate(self, wire: bytes, **options: Any) -> Simulation:
        if self.silent:
            raise ChainTimeout("no reply within the deadline")
        self.simulated += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        return await super().simulate(wire, **options)


async def lender(world: World, *, delegate: bool = True) -> Keypair:
    """Create an owner with tokens in the pool and the operator as delegate, and index that."""
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


async def set_policy(world: World, owner: Keypair, *, on: bool = True, min_amount: int = 1) -> None:
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


async def deposited_in_pool(world: World, owner: Keypair) -> int:
    """Return what the vault's row holds in the pool."""
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    return row.yield_deposited
