"""More vaults than one response holds: the chain's list is compared part by part."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions import vault_listing
from cvms.chain.types import Account, Commitment, Slot
from cvms.errors import ChainUnavailable
from cvms.nursery.reconciliation.aggregate_check import PARTS_AT_ONCE, AggregateCheck
from tests.nursery.reconciliation.test_reconciler import two_vaults
from tests.nursery.world import World, address


class Failing(RpcClient):
    """A node that does not answer the last of the parts that are read at once, the first time."""

    def __init__(self, rpc: RpcClient) -> None:
        super().__init__(rpc._transport)
        self.asked = 0

    async def get_program_accounts(
        self,
        program: Pubkey,
        *,
        data_begins: bytes,
        commitment: Commitment,
        data_slice: tuple[int, int] | None = None,
    ) -> tuple[Slot, list[tuple[Pubkey, Account]]]:
        self.asked += 1
        if self.asked == PARTS_AT_ONCE:
            raise ChainUnavailable("no answer")
        return await super().get_program_accounts(
            program, data_begins=data_begins, commitment=commitment, data_slice=data_slice
        )


def check_of(world: World, rpc: RpcClient) -> AggregateCheck:
    return AggregateCheck(
        database=world.database,
        rpc=rpc,
        programs=world.programs,
        threshold=0,
        metrics=world.metrics,
    )


async def whole_list(check: AggregateCheck) -> list[str]:
    turns = range(256 // PARTS_AT_ONCE)
    return sorted([owner for _ in turns for owner in await check.find_mismatched_owners()])


async def test_a_wrong_total_and_a_missing_row_are_found_in_any_part(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await two_vaults(world)
    check = check_of(world, world.rpc)
    monkeypatch.setattr(vault_listing, "MOST_LISTED", 1)  # two vaults are listed in 256 parts
    owners = sorted([address(alice), address(bob)])
    assert await whole_list(check) == []
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    assert await whole_list(check) == owners
    await world.execute("DELETE FROM vaults WHERE total <> 93")
    assert await whole_list(check) == owners


async def test_parts_that_were_not_read_to_their_end_are_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await two_vaults(world)
    monkeypatch.setattr(vault_listing, "MOST_LISTED", 1)
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    first = [bytes(key.pubkey())[:1] for key in (alice, bob)]  # both are in the parts that fail
    monkeypatch.setattr(
        "random.sample", lambda parts, _: sorted(parts, key=first.__contains__, reverse=True)
    )
    check = check_of(world, Failing(world.rpc))
    with pytest.raises(ChainUnavailable):
        await check.find_mismatched_owners()
    assert {*await check.find_mismatched_owners()} == {address(alice), address(bob)}
