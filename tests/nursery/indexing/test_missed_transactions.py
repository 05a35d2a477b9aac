"""A list that lacked transactions when it was indexed, and has them later."""

from __future__ import annotations

from typing import Any

import pytest

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.nursery.indexing import missed_transactions
from cvms.nursery.indexing.missed_transactions import MissedTransactions
from cvms.store.analytics import event_counters
from tests.nursery.forking import Forking, opened
from tests.nursery.world import World, assert_books_match, full_pass_resolved
from tests.provider_proxy import provider
from tests.provider_proxy.history_faults import Holes


class LeavesOut(RpcClient):
    """A node that does not list some of the transactions."""

    left_out: frozenset[str] = frozenset()

    async def get_signatures_for_address(self, *args: Any, **kwargs: Any) -> list[SignatureInfo]:
        found = await super().get_signatures_for_address(*args, **kwargs)
        return [info for info in found if info.signature not in self.left_out]


async def index_without(forking: Forking, *left_out: str) -> None:
    node = LeavesOut(forking.world.rpc._transport)
    node.left_out = frozenset(left_out)
    await forking.catch_up(forking.world.indexer(rpc=node))
    forking.world.chain.chain.advance(8)
    await forking.world.finalizer().run_once()


async def events(world: World) -> list[tuple[str, str]]:
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT signature, name FROM chain_events ORDER BY slot")
        return await cursor.fetchall()


async def test_a_deposit_that_the_list_lacked_is_indexed_and_told_once(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    [missed] = await forking.act((owner, world.deposit(owner, 100)))
    await forking.act((owner, world.deposit(owner, 20)))
    await index_without(forking, missed)
    assert [amount for _, amount, _ in await world.history(owner)] == [20]
    reconciler = world.reconciler()
    for _ in range(2):
        await full_pass_resolved(world, reconciler)
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 20]
    published = [(kind, amount) for kind, _, amount in await forking.published()]
    assert published == [("event", 20), ("event", 100)]
    assert set(await forking.differing()) <= {"transactions"}, "which it compares by their ids"
    assert world.board.checks.statuses()["transactions"].ok


async def test_both_sides_of_a_transfer_that_the_list_lacked_are_counted(
    forking: Forking,
) -> None:
    world, alice, bob = forking.world, await opened(forking), await opened(forking)
    await forking.act((alice, world.deposit(alice, 500)))
    await forking.act((alice, world.agree(alice)), (bob, world.agree(bob)))
    missed = []
    for payer, payee in ((alice, bob), (bob, alice)):  # so that the total shows nothing
        transfer = instructions.rebalance_collateral(
            world.programs,
            authority=world.operator.pubkey(),
            from_owner=payer.pubkey(),
            to_owner=payee.pubkey(),
            amount=50,
        )
        missed += await forking.act((world.operator, transfer))
    await forking.act((alice, world.deposit(alice, 1)), (bob, world.deposit(bob, 2)))
    await index_without(forking, *missed)
    await full_pass_resolved(world, world.reconciler())
    async with world.database.connection() as conn:
        counted = await event_counters.read(conn)
    assert [counted[kind] for kind in ("transfer_out", "transfer_in")] == [(2, 100), (2, 100)]
    assert set(await forking.differing()) <= {"transactions"}, "which it compares by their ids"


@pytest.mark.parametrize("whose", ["an owner's", "the governance's"])
async def test_one_that_changes_no_balance_is_found_too(forking: Forking, whose: str) -> None:
    world, owner = forking.world, await opened(forking)
    programs, governance = world.programs, world.operator
    [missed] = await forking.act(
        (owner, instructions.set_withdraw_min_delay(programs, owner=owner.pubkey(), seconds=9))
        if whose == "an owner's"
        else (
            governance,
            instructions.set_freeze_flag(programs, governance=governance.pubkey(), freeze=False),
        )
    )
    await forking.act((owner, world.deposit(owner, 20)))
    await index_without(forking, missed)
    assert missed not in dict(await events(world))
    await full_pass_resolved(world, world.reconciler())
    assert missed in dict(await events(world))
    assert await forking.differing() == {}


async def test_one_after_the_cursor_is_left_to_the_indexer(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await index_without(forking)
    await forking.act((owner, world.deposit(owner, 20)))
    world.chain.chain.advance(8)
    await world.reconciler()._check_transactions()
    assert [amount for _, amount, _ in await world.history(owner)] == [100]
    await forking.catch_up()
    await assert_books_match(world)


async def test_an_unreadable_one_does_not_hide_the_others(
    forking: Forking, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, owner, other = forking.world, await opened(forking), await opened(forking)
    governance, programs = world.operator, world.programs
    freeze = instructions.set_freeze_flag(programs, governance=governance.pubkey(), freeze=False)
    [unreadable] = await forking.act((owner, world.deposit(owner, 100)))
    [of_authority] = await forking.act((governance, freeze))
    [of_other] = await forking.act((other, world.deposit(other, 30)))
    await forking.act((owner, world.deposit(owner, 20)))
    await index_without(forking, unreadable, of_authority, of_other)
    hole = Holes(methods=("getTransaction",), signatures=[unreadable])
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, hole) as node,
        open_rpc([node.url]) as rpc,
    ):
        reconciler = world.reconciler(rpc=rpc)
        await full_pass_resolved(world, reconciler)
        assert {of_authority, of_other} <= dict(await events(world)).keys()
        assert [amount for _, amount, _ in await world.history(other)] == [30]
        check = world.board.checks.statuses()["transactions"]
        assert not check.ok
        assert f"no node has the transaction {unreadable}" in check.detail
        monkeypatch.setattr(missed_transactions, "OVERLAP_SLOTS", 0)  # ten minutes later
        node.faults.clear()
        await full_pass_resolved(world, reconciler)
    assert unreadable in dict(await events(world))
    assert world.board.checks.statuses()["transactions"].ok


async def test_the_unreadable_ones_of_a_run_are_bounded(
    forking: Forking, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, owner = forking.world, await opened(forking)
    hidden = [(await forking.act((owner, world.deposit(owner, n))))[0] for n in range(1, 5)]
    await forking.act((owner, world.deposit(owner, 20)))
    await index_without(forking, *hidden)
    monkeypatch.setattr(missed_transactions, "MAX_UNREADABLE", 1)
    hole = Holes(methods=("getTransaction",), signatures=hidden)
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, hole) as node,
        open_rpc([node.url]) as rpc,
    ):
        missed = MissedTransactions(database=world.database, rpc=rpc, programs=world.programs)
        found = await missed.find()
    assert [info.signature for info in found.unreadable] == hidden[:2]
    assert found.owners == {}
    assert str(found.problem).startswith(f"no node has the transaction {hidden[0]}")
