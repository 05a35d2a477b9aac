"""Finalizer: events are marked as finalized with their transaction, and not before."""

from __future__ import annotations

from tests.nursery.world import World


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
