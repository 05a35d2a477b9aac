"""A stored transaction that a node does not list is removed only if the chain lacks it too."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.errors import HistoryNotProven
from cvms.nursery.reconciliation import chain_history
from cvms.nursery.reconciliation.vault_reindexer import Reindexer
from tests.nursery.reconciliation.test_incomplete_rebuild import signature_of, with_hole
from tests.nursery.reconciliation.test_late_messages import GHOST_EVENT, GHOST_LINE
from tests.nursery.reconciliation.test_reconciler import stored, two_vaults
from tests.nursery.world import World, address
from tests.provider_proxy import provider
from tests.provider_proxy.history_faults import Holes, MissingEntries


async def reindex(world: World, owner: Keypair, rpc: RpcClient) -> int:
    reindexer = Reindexer(
        database=world.database, rpc=rpc, programs=world.programs, metrics=world.metrics
    )
    return await reindexer.reindex(vault_address(world.programs, owner.pubkey()), address(owner))


async def insert_ghost(world: World) -> str:
    """Store a deposit of no transaction, in the slot of another one."""
    ghost = str(Keypair().sign_message(b"ghost"))
    await world.execute(GHOST_EVENT, ghost)
    await world.execute(GHOST_LINE, ghost)
    return ghost


async def test_what_cancels_out_stays_if_the_list_lacks_it(world: World) -> None:
    alice, _ = await two_vaults(world)
    before, published = await stored(world), await world.outbox()
    missing = await signature_of(world, alice, 700)  # deposited, withdrawn, closed and reopened
    async with with_hole(world, missing) as rpc:
        with pytest.raises(HistoryNotProven, match=f"does not list {missing}"):
            await reindex(world, alice, rpc)
    assert await stored(world) == before
    assert await world.outbox() == published


async def test_what_the_node_has_only_in_its_blocks_stays(world: World) -> None:
    alice, _ = await two_vaults(world)
    before, missing = await stored(world), await signature_of(world, alice, 700)
    faults = [
        MissingEntries(share=0, signatures=[missing]),
        Holes(methods=("getTransaction", "getSignatureStatuses"), signatures=[missing]),
    ]
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, *faults) as node,
        open_rpc([node.url]) as rpc,
    ):
        with pytest.raises(HistoryNotProven, match=f"does not list {missing}"):
            await reindex(world, alice, rpc)
    assert await stored(world) == before


@pytest.mark.parametrize("readable", [True, False])
async def test_what_is_in_no_block_goes_once_its_block_is_readable(
    world: World, readable: bool
) -> None:
    alice, _ = await two_vaults(world)
    before = await stored(world)
    await insert_ghost(world)
    damaged = await stored(world)
    hole = Holes(methods=("getBlock",), share=0.0 if readable else 1.0)
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, hole) as node,
        open_rpc([node.url]) as rpc,
    ):
        if readable:
            assert await reindex(world, alice, rpc) == 2
        else:
            with pytest.raises(HistoryNotProven, match="nothing proves"):
                await reindex(world, alice, rpc)
    now = await stored(world)
    assert (now["lines"], now["events"]) == (
        (before["lines"], before["events"]) if readable else (damaged["lines"], damaged["events"])
    )


async def test_the_number_of_proofs_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = await two_vaults(world)
    await insert_ghost(world)
    monkeypatch.setattr(chain_history, "MAX_ABSENCE_PROOFS", 0)
    with pytest.raises(HistoryNotProven, match="lacks 1 stored transactions"):
        await reindex(world, alice, world.rpc)
