"""A rebuild from a node that has less than the whole history replaces nothing, and says so."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.errors import RebuildIncomplete
from cvms.nursery.reconciliation import rebuild_completeness
from cvms.nursery.reconciliation.full_rebuild import RebuildOutcome, open_rebuild
from cvms.store.security import audit_log
from cvms.store.vaults import history
from tests.nursery.reconciliation.test_full_rebuild import command, until_unlocked
from tests.nursery.reconciliation.test_reconciler import stored, two_vaults
from tests.nursery.world import World, address, finalize
from tests.provider_proxy import provider
from tests.provider_proxy.history_faults import Holes, MissingEntries


@asynccontextmanager
async def with_hole(world: World, missing: str) -> AsyncIterator[RpcClient]:
    """Open a client of a node whose list of transactions lacks one."""
    fault = MissingEntries(share=0, signatures=[missing])
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, fault) as node,
        open_rpc([node.url]) as rpc,
    ):
        yield rpc


async def rebuild(
    world: World, url: str, rpc: RpcClient, *, replace: bool = True, accept: bool = False
) -> RebuildOutcome:
    await until_unlocked(world)
    async with open_rebuild(
        url,
        rpc=rpc,
        programs=world.programs,
        fresh=True,
        report=lambda step: None,
        max_shown=5,
        accept_incomplete=accept,
    ) as opened:
        return await opened.run(replace=replace)


async def signature_of(world: World, owner: Keypair, amount: int) -> str:
    async with world.database.connection() as conn:
        lines = await history.in_order(conn, address(owner))
    return next(line.signature for line in lines if line.amount == amount)


async def insert_forged_event(world: World) -> dict[str, list[Any]]:
    """Record an event of no transaction; return what is stored then."""
    await world.execute(
        "INSERT INTO chain_events SELECT (jsonb_populate_record(forged, jsonb_build_object("
        "'signature', %s::TEXT))).* FROM chain_events AS forged "
        "WHERE name = 'DepositEvent' LIMIT 1",
        str(Keypair().sign_message(b"forged")),
    )
    return await stored(world)


async def prune(world: World, *, keep: int) -> int:
    """Let the node forget all but the newest slots with events; return where its ledger begins."""
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT DISTINCT slot FROM chain_events ORDER BY slot DESC")
        slots = [slot for (slot,) in await cursor.fetchall()]
    world.chain.faults.history.first_slot = slots[keep - 1]
    return int(slots[keep - 1])


async def test_a_pruned_ledger_replaces_nothing_unless_that_is_accepted(
    world: World, settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = await two_vaults(world)
    before, begins = await stored(world), await prune(world, keep=2)

    assert await command("index", "rebuild") == 1
    output = capsys.readouterr().out
    assert "2 vaults do not add up to their accounts" in output
    assert f"the node's ledger begins at slot {begins}" in output
    assert address(alice) in output
    assert address(bob) in output
    assert "rows differ" not in output  # the live tables are right
    assert await command("index", "rebuild", "--json", "--show", "1") == 1
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["equal"], outcome["incomplete_vaults"], outcome["ledger_begins"]) == (
        False,
        2,
        begins,
    )
    assert len(outcome["first_incomplete"]) == 1

    assert await command("index", "rebuild", "--replace") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("cvms: The rebuilt index is incomplete; nothing is replaced. 2 vaults")
    assert f"begins at slot {begins}: " in error
    assert f"{address(bob)}: the rebuilt index does not know it" in error
    assert "history_total is 4, and 527 by its account" in error
    assert await stored(world) == before

    assert await command("index", "rebuild", "--replace", "--accept-incomplete") == 0
    assert await stored(world) != before
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=10)
    assert entry.details["incomplete_vaults_accepted"] == 2


@pytest.mark.parametrize("amount", [20, 90, 7])
async def test_a_hole_in_the_list_replaces_nothing(
    world: World, database_url: str, amount: int
) -> None:
    alice, bob = await two_vaults(world)
    owner, before = bob if amount == 90 else alice, await stored(world)
    missing = await signature_of(world, owner, amount)
    async with with_hole(world, missing) as rpc:
        with pytest.raises(RebuildIncomplete, match=f"{address(owner)}: history_"):
            await rebuild(world, database_url, rpc)
    assert await stored(world) == before


async def test_a_hole_that_cancels_out_replaces_nothing(world: World, database_url: str) -> None:
    alice, _ = await two_vaults(world)
    before = await stored(world)
    missing = await signature_of(world, alice, 700)  # deposited, withdrawn, closed and reopened
    async with with_hole(world, missing) as rpc:
        with pytest.raises(RebuildIncomplete, match=f"{address(alice)}: {missing} .* on the chain"):
            await rebuild(world, database_url, rpc)
    assert await stored(world) == before


@pytest.mark.parametrize("blocks", [True, False])
async def test_a_status_that_is_lost_too_is_no_proof(
    world: World, database_url: str, blocks: bool
) -> None:
    alice, _ = await two_vaults(world)
    before, missing = await stored(world), await signature_of(world, alice, 700)
    faults = [
        MissingEntries(share=0, signatures=[missing]),
        Holes(methods=("getSignatureStatuses",), signatures=[missing]),
        Holes(methods=("getBlock",), share=0.0 if blocks else 1.0),
    ]
    found = "on the chain" if blocks else "not proven absent"
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, *faults) as node,
        open_rpc([node.url]) as rpc,
    ):
        with pytest.raises(RebuildIncomplete, match=f"{address(alice)}: {missing} .* {found}"):
            await rebuild(world, database_url, rpc)
    assert await stored(world) == before


async def test_what_exceeds_the_number_of_proofs_is_not_taken_for_absent(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await two_vaults(world)
    before = await insert_forged_event(world)
    monkeypatch.setattr(rebuild_completeness, "MAX_ABSENCE_PROOFS", 0)
    with pytest.raises(RebuildIncomplete, match="not proven absent"):
        await rebuild(world, database_url, world.rpc)
    assert await stored(world) == before


async def test_a_closed_vault_before_the_ledger_begins_is_not_forgotten(
    world: World, database_url: str
) -> None:
    closed = await world.owner()
    await world.act(
        closed,
        world.deposit(closed, 5),
        world.withdraw(closed, 5),
        instructions.close_vault(world.programs, closed.pubkey()),
    )
    world.chain.chain.advance(1)
    other = await world.owner()
    begins = world.chain.chain.tip.slot - 1
    await world.act(other, world.deposit(other, 7))
    finalize(world)
    await world.indexer().catch_up()
    world.chain.faults.history.first_slot = begins
    before = await stored(world)
    found = await rebuild(world, database_url, world.rpc, replace=False)
    problems = {each.owner: each.problem for each in found.completeness.vaults}
    assert problems[address(closed)] == "the rebuilt index does not know it"
    assert not found.equal
    with pytest.raises(RebuildIncomplete):
        await rebuild(world, database_url, world.rpc)
    assert await stored(world) == before


async def test_an_event_that_is_on_no_chain_keeps_nothing_from_being_replaced(
    world: World, database_url: str
) -> None:
    await two_vaults(world)
    before = await stored(world)
    await insert_forged_event(world)
    outcome = await rebuild(world, database_url, world.rpc)
    assert (outcome.replaced, outcome.completeness.vaults) == (True, [])
    assert await stored(world) == before


@pytest.mark.parametrize("damage", [None, "DELETE FROM chain_events"])
async def test_a_hole_in_a_vault_that_changed_since_replaces_nothing(
    world: World, database_url: str, damage: str | None
) -> None:
    alice, _ = await two_vaults(world)
    missing = await signature_of(world, alice, 20)
    if damage:
        await world.execute(damage)
    await world.act(alice, world.deposit(alice, 1))  # after the live cursor
    finalize(world)
    before = await stored(world)
    async with with_hole(world, missing) as rpc:
        with pytest.raises(RebuildIncomplete, match=f"{address(alice)}: {missing} .* on the chain"):
            await rebuild(world, database_url, rpc)
    assert await stored(world) == before


async def test_a_vault_that_changed_since_keeps_nothing_from_being_replaced(
    world: World, database_url: str
) -> None:
    alice, _ = await two_vaults(world)
    before = (await stored(world))["lines"]
    await world.execute("DELETE FROM transactions WHERE amount = 20")
    await world.act(alice, world.deposit(alice, 1))
    finalize(world)
    outcome = await rebuild(world, database_url, world.rpc)
    assert (outcome.replaced, outcome.completeness.vaults) == (True, [])
    assert (await stored(world))["lines"] == before
