"""Finalizer: events are marked as finalized with their transaction, and not before."""

from __future__ import annotations

import pytest

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.errors import GapNotClosed
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.projection import vault_writer
from tests.nursery.forking import Forking, opened
from tests.nursery.world import World
from tests.provider_proxy import provider
from tests.provider_proxy.call_faults import ErrorAnswer
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import Holes
from tests.provider_proxy.request_faults import HttpRefusal

NO_BLOCKS = pytest.mark.parametrize(
    "refusal",
    [
        HttpRefusal(methods="getBlock", status=403),
        ErrorAnswer(methods="getBlock", code=-32601),
    ],
    ids=["HTTP 403", "method not found"],
)
"""Providers that do not serve blocks."""


async def test_events_and_history_become_final_with_their_transaction(world: World) -> None:
    owner = await world.owner()
    world.chain.chain.pause()
    await world.act(owner, world.deposit(owner, 500), wait=False)
    world.chain.chain.advance(1)
    finalizer = world.finalizer()
    await world.indexer().catch_up()
    await finalizer.run_once()
    assert await commitments(world) == {"confirmed"}

    world.chain.chain.advance(10)
    await finalizer.run_once()
    await finalizer.run_once()
    assert await commitments(world) == {"finalized"}
    assert await world.history(owner) == [("deposit", 500, 500)]


@NO_BLOCKS
async def test_the_transaction_itself_replaces_a_lost_status_where_no_block_is_served(
    forking: Forking, refusal: Fault
) -> None:
    world, owner = forking.world, await opened(forking)
    [lost] = await forking.act((owner, world.deposit(owner, 1)))
    await forking.act((owner, world.deposit(owner, 2)))
    await forking.catch_up()
    world.chain.chain.advance(8)
    hole = Holes(methods=("getSignatureStatuses",), signatures=[lost])
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, hole, refusal) as node,
        open_rpc([node.url]) as rpc,
    ):
        await world.finalizer(rpc=rpc).run_once()
    assert await commitments(world) == {"finalized"}


@NO_BLOCKS
async def test_a_transaction_that_nothing_shows_stops_the_marks_and_not_the_recheck(
    forking: Forking, refusal: Fault
) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 1)))
    [lost] = await forking.act((owner, world.deposit(owner, 2)))
    await forking.act((owner, world.deposit(owner, 3)))
    await forking.catch_up()
    world.chain.chain.advance(8)
    hole = Holes(methods=("getSignatureStatuses", "getTransaction"), signatures=[lost])
    assert await not_rechecked(world) == 1
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, hole, refusal) as node,
        open_rpc([node.url]) as rpc,
    ):
        with pytest.raises(GapNotClosed, match=lost):
            await world.finalizer(rpc=rpc).run_once()
        assert await commitments(world) == {"confirmed", "finalized"}
        assert await final_deposits(world) == 1, "those after it are not marked"
        assert await not_rechecked(world) == 0
        node.faults.clear()
    await world.finalizer().run_once()
    assert await final_deposits(world) == 3


async def final_deposits(world: World) -> int:
    query = """
        SELECT count(*)
        FROM chain_events
        WHERE name = 'DepositEvent' AND commitment = 'finalized'
    """
    async with world.database.connection() as conn:
        return int(await fetch_value(conn, query))


async def not_rechecked(world: World) -> int:
    async with world.database.connection() as conn:
        return len(await vault_writer.not_rechecked(conn, up_to_slot=2**53, limit=100))


async def commitments(world: World) -> set[str]:
    """Return the commitments of the recorded deposit and of the history."""
    query = """
        SELECT commitment FROM chain_events WHERE name = 'DepositEvent'
        UNION
        SELECT commitment FROM transactions
    """
    async with world.database.connection() as conn:
        cursor = await conn.execute(query)
        return {row[0] for row in await cursor.fetchall()}
