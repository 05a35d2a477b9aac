"""What is called final is final on the chain, and what is not is left as it is."""

from __future__ import annotations

from structlog.testing import capture_logs

from cvms.chain.types import Commitment
from cvms.nursery.settler import Settler
from tests.nursery.world import World, until


async def test_events_and_history_become_final_with_their_transaction(world: World) -> None:
    owner = await world.owner()
    world.chain.chain.pause()
    await world.act(owner, world.deposit(owner, 500), wait=False)
    world.chain.chain.advance(1)
    settler = Settler(database=world.database, rpc=world.rpc, board=world.board)
    await world.indexer().catch_up()
    await settler.settle()
    assert await commitments(world) == {"confirmed"}

    world.chain.chain.advance(10)
    await settler.settle()
    await settler.settle()
    assert await commitments(world) == {"finalized"}
    assert await world.history(owner) == [("deposit", 500, 500)]


async def test_an_event_whose_transaction_is_not_on_the_chain_is_told_once(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    dropped = "1" * 64
    await world.execute(
        "UPDATE chain_events SET signature = %s WHERE name = 'DepositEvent'", dropped
    )
    settler = Settler(database=world.database, rpc=world.rpc, board=world.board)

    async def deep() -> bool:
        async with world.database.connection() as conn:
            cursor = await conn.execute("SELECT max(slot) FROM chain_events")
            [slot] = await cursor.fetchone() or (0,)
        return await world.rpc.get_slot(Commitment.FINALIZED) > int(slot)

    await until(deep)
    with capture_logs() as logs:
        await settler.settle()
        await settler.settle()
    assert [line["signature"] for line in logs if line["event"] == "event_not_final"] == [dropped]


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
