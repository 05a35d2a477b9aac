"""More vaults than one response holds: the chain's list is compared part by part."""

from __future__ import annotations

import pytest

from cvms.chain.transactions import vault_listing
from cvms.nursery.reconciliation.aggregate_check import PARTS_AT_ONCE, AggregateCheck
from tests.nursery.reconciliation.test_reconciler import two_vaults
from tests.nursery.world import World, address


async def test_a_wrong_total_and_a_missing_row_are_found_in_any_part(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await two_vaults(world)
    check = AggregateCheck(
        database=world.database,
        rpc=world.rpc,
        programs=world.programs,
        threshold=0,
        metrics=world.metrics,
    )
    monkeypatch.setattr(vault_listing, "MOST_LISTED", 1)  # two vaults are listed in 256 parts

    async def whole_list() -> list[str]:
        turns = range(256 // PARTS_AT_ONCE)
        return [owner for _ in turns for owner in await check.find_mismatched_owners()]

    owners = sorted([address(alice), address(bob)])
    assert await whole_list() == []
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    assert sorted(await whole_list()) == owners
    await world.execute("DELETE FROM vaults WHERE total <> 93")
    assert sorted(await whole_list()) == owners
