"""The value locked is known to the metrics, and told when it changes, not otherwise."""

from __future__ import annotations

from cvms.nursery.balances import Balances
from cvms.nursery.retention import Retention
from tests.nursery.world import World


async def test_the_value_locked_is_told_when_it_changes(world: World) -> None:
    owner, indexer = await world.owner(), world.indexer()
    balances = Balances(
        database=world.database,
        wake=world.tvl_wake,
        outbox_wake=world.outbox_wake,
        interval=60,
        board=world.board,
        metrics=world.metrics,
    )
    for step in (world.deposit(owner, 900), world.withdraw(owner, 200)):
        await world.act(owner, step)
        await indexer.catch_up()
        await balances.look()
        await balances.look()
    assert [row.data["total"] for row in await world.outbox("tvl_update")] == [900, 700]
    assert world.metrics.registry.get_sample_value("total_value_locked") == 700


async def test_old_messages_go_and_what_is_of_record_stays(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 900))
    await world.indexer().catch_up()
    await world.execute("UPDATE outbox SET created_at = now() - interval '25 hours'")
    await Retention(database=world.database, board=world.board).prune()
    assert await world.outbox() == []
    assert await world.history(owner) == [("deposit", 900, 900)]
