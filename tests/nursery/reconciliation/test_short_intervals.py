"""Passes that follow each other faster than slots are finalized find what longer ones find."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from cvms.nursery.reconciliation import reconciler as reconciler_module
from tests.harness.localnet import FAST
from tests.nursery.reconciliation.test_reconciler import (
    DAMAGE,
    counted,
    entries,
    stored,
    two_vaults,
)
from tests.nursery.world import World, held_clock, running, until


@pytest.mark.parametrize(
    "damage", ["a row is wrong", "a row is missing", "a line is missing", "balances are missing"]
)
async def test_a_difference_is_healed_although_each_slot_has_a_pass(
    world: World, damage: str
) -> None:
    await two_vaults(world)
    before = await stored(world)
    await world.execute(DAMAGE[damage])
    chain, indexer, reconciler = world.chain.chain, world.indexer(), world.reconciler()
    with held_clock(chain):
        for _ in range(chain.timing.finalized_lag + 2):
            await indexer.catch_up()
            await reconciler.full_pass()
            await reconciler.resolve_pending()
            chain.advance(1)
    found = await entries(world)
    assert found
    assert all(each.healed for each in found)
    assert await stored(world) == before


async def test_a_reading_is_replaced_once_the_row_is_of_a_later_slot(world: World) -> None:
    alice, _ = await two_vaults(world)
    await world.execute(DAMAGE["a line is missing"])
    chain, indexer, reconciler = world.chain.chain, world.indexer(), world.reconciler()
    with held_clock(chain):
        await indexer.catch_up()
        await reconciler.full_pass()
    await world.act(alice, world.deposit(alice, 5))
    with held_clock(chain):
        await indexer.catch_up()
        await reconciler.full_pass()
        for _ in range(chain.timing.finalized_lag + 2):
            await reconciler.resolve_pending()
            chain.advance(1)
    assert "history_line" in {each.field for each in await entries(world)}
    assert not reconciler._pending


@pytest.mark.parametrize(
    ("damage", "counted_again"), [("balances are missing", True), ("a row is wrong", False)]
)
async def test_sums_are_checked_although_something_is_always_pending_but_not_taken_from_wrong_rows(
    world: World, mock_clock: MockClock, damage: str, counted_again: bool
) -> None:
    mock_clock.rate = 1.0
    await two_vaults(world)
    await world.execute(DAMAGE[damage])  # it stays pending: nothing is finalized
    await world.execute(DAMAGE["sums by size are wrong"])
    reconciler = world.reconciler()
    with held_clock(world.chain.chain):
        await world.indexer().catch_up()
        world.chain.chain.advance(1)
        for _ in range(3):
            await reconciler.full_pass()
            await reconciler.resolve_pending()
            assert reconciler._pending
            mock_clock.jump(reconciler_module.SUMS_WAIT_SECONDS * 0.6)
    assert counted(world, "vault_sizes", healed=True) == int(counted_again)
    shown = world.board.checks.statuses()["sums"]
    assert shown.ok == counted_again
    assert counted_again or "2 vaults, whose rows differ from their history" in shown.detail


@pytest.mark.parametrize("timing", [FAST], indirect=True)
async def test_a_difference_is_healed_although_slots_are_final_before_they_are_indexed(
    world: World,
) -> None:
    """The indexer looks once a second; a slot of this chain is final after a fifth of one."""
    await two_vaults(world)
    before = await stored(world)
    await world.execute(DAMAGE["a row is wrong"])

    async def healed() -> bool:
        return await stored(world) == before

    async with running(world.indexer().run, world.reconciler().run):
        await until(healed)
