"""The books are held against the chain: a difference is told and healed, a lag is not."""

from __future__ import annotations

from typing import Any

import trio
from structlog.testing import capture_logs

from cvms.chain import instructions
from cvms.nursery.reconciler import Reconciler
from cvms.store import reconciliation, vaults
from cvms.store.reconciliation import ReconciliationRow
from tests.nursery.world import World, address, running, until


async def entries(world: World) -> list[ReconciliationRow]:
    async with world.database.connection() as conn:
        return await reconciliation.recent(conn)


def outcomes(world: World, outcome: str) -> float:
    name, labels = "reconciliation_checks_total", {"outcome": outcome}
    return world.metrics.registry.get_sample_value(name, labels) or 0


async def judged(world: World, reconciler: Reconciler) -> None:
    """A full pass, judged once the indexer has passed the slot of its reading."""
    await reconciler.full_pass()
    await world.indexer().catch_up()
    await reconciler.judge()


async def test_a_row_corrupted_by_hand_is_told_and_healed(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    with capture_logs() as logs:
        await judged(world, world.reconciler())
    told = {(row.field, row.expected, row.actual, row.difference) for row in await entries(world)}
    assert told == {("total", 500, 503, -3), ("available", 500, 503, -3)}
    assert all(row.healed for row in await entries(world))
    assert {entry["field"] for entry in logs if entry["event"] == "books_differ_from_chain"} == {
        "total",
        "available",
    }
    assert outcomes(world, "difference") == 1
    assert await world.problems() == []
    assert (await world.outbox("vault_balance_update"))[-1].data["balance"] == 500


async def test_a_lost_delegate_is_healed_though_no_amount_differs(world: World) -> None:
    owner = await world.owner()
    add = instructions.add_delegate(
        world.programs, owner=owner.pubkey(), delegate=world.operator.pubkey()
    )
    await world.act(owner, add)
    await world.indexer().catch_up()
    await world.execute("UPDATE vaults SET delegates = '{}'")
    await judged(world, world.reconciler())
    assert [(row.field, row.healed) for row in await entries(world)] == [("state", True)]
    assert await world.problems() == []


async def test_a_missing_history_line_is_told_once_and_not_papered_over(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    await world.execute("DELETE FROM transactions")
    reconciler = world.reconciler()
    for _ in range(3):
        await judged(world, reconciler)
    [entry] = await entries(world)
    assert (entry.field, entry.expected, entry.actual) == ("history_deposited", 500, 0)
    assert not entry.healed
    assert outcomes(world, "difference") == 3


async def test_a_row_that_only_lags_is_no_difference(world: World) -> None:
    owner = await world.owner()
    await world.indexer().catch_up()
    await world.act(owner, world.deposit(owner, 500))
    reconciler = world.reconciler()
    await reconciler.full_pass()
    await reconciler.judge()
    assert outcomes(world, "equal") == outcomes(world, "difference") == 0
    await world.indexer().catch_up()
    await reconciler.judge()
    assert outcomes(world, "equal") == 1
    assert await entries(world) == []


async def test_it_does_not_cry_wolf_while_transactions_flow(world: World) -> None:
    owners = [await world.owner() for _ in range(3)]
    indexer, reconciler = world.indexer(), world.reconciler()
    reconciler._interval = 0.05

    async def flow(owner: Any) -> None:
        for amount in range(1, 9):
            await world.act(owner, world.deposit(owner, 10 + amount), wait=amount % 3 == 0)
            await world.act(owner, world.withdraw(owner, amount), wait=amount % 2 == 0)

    async with running(indexer.run, reconciler.run):
        async with trio.open_nursery() as flows:
            for owner in owners:
                flows.start_soon(flow, owner)

        async def settled() -> bool:
            checked = outcomes(world, "equal") >= 6
            return checked and not reconciler._pending and await world.problems() == []

        await until(settled)
    assert await entries(world) == []
    assert outcomes(world, "difference") == 0


async def test_differences_within_the_threshold_are_left_alone(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    await judged(world, world.reconciler(threshold=3))
    assert await entries(world) == []
    await judged(world, world.reconciler(threshold=2))
    assert len(await entries(world)) == 2


async def test_a_token_account_that_does_not_cover_the_vault_is_told(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    params = [row.vault, str(world.programs.mint), {"amount": 499}]
    await world.rpc.call("surfnet_setTokenAccount", params)
    world.chain.chain.advance(2)
    await judged(world, world.reconciler())
    [entry] = await entries(world)
    assert (entry.field, entry.expected, entry.actual) == ("token_account", 500, 499)
