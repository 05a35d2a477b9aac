"""What is called final is final on the chain, and what is not is left as it is."""

from __future__ import annotations

from tests.nursery.world import World


async def test_events_and_history_become_final_with_their_transaction(world: World) -> None:
    owner = await world.owner()
    world.chain.chain.pause()
    await world.act(owner, world.deposit(owner, 500), wait=False)
    world.chain.chain.advance(1)
    settler = world.settler()
    await world.indexer().catch_up()
    await settler.run_once()
    assert await commitments(world) == {"confirmed"}

    world.chain.chain.advance(10)
    await settler.run_once()
    await settler.run_once()
    assert await commitments(world) == {"finalized"}
    assert await world.history(owner) == [("deposit", 500, 500)]


async def commitments(world: World) -> set[str]:
    """Those of the recorded deposit and of the history, together."""
    query = """
        SELECT commitment FROM chain_events WHERE name = 'DepositEvent'
        UNION
        SELECT commitment FROM transactions
    """
    async with world.database.connection() as conn:
        cursor = await conn.execute(query)
        return {row[0] for row in await cursor.fetchall()}
