"""The value locked is known to the metrics, and told when it changes, not otherwise."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import trio

from cvms.nursery.scheduled.retention import Retention
from cvms.nursery.scheduled.totals_publisher import TotalsPublisher
from cvms.store.analytics import overview
from cvms.store.postgres.database import Database, open_database
from tests.nursery.world import World


def balances(
    world: World, database: Database | None = None, *, apart: float = 0.0
) -> TotalsPublisher:
    return TotalsPublisher(
        database=database or world.database,
        program=str(world.programs.vault),
        wake=world.tvl_wake,
        outbox_wake=world.outbox_wake,
        interval=60,
        board=world.board,
        metrics=world.metrics,
        analytics_min_interval=timedelta(seconds=apart),
    )


async def test_what_vaults_hold_is_told_when_it_changes_and_once_by_two_replicas(
    world: World, database_url: str
) -> None:
    owner, indexer = await world.owner(), world.indexer()
    async with open_database(database_url) as other:
        await other.prepare()
        one, two = balances(world), balances(world, other)
        for step in (world.deposit(owner, 900), world.withdraw(owner, 200)):
            await world.act(owner, step)
            await indexer.catch_up()
            async with trio.open_nursery() as nursery:
                for each in (one, two, one, two):
                    nursery.start_soon(each.run_once)
        await balances(world).run_once()  # started again
    assert [row.data["total"] for row in await world.outbox("tvl_update")] == [900, 700]
    assert world.metrics.registry.get_sample_value("total_value_locked") == 700
    told = [row.data for row in await world.outbox("analytics_update")]
    assert [each["tvl"] for each in told] == [900, 700]
    async with world.database.connection() as conn:
        now = msgspec.to_builtins(await overview.read(conn, str(world.programs.vault)))
    assert told[-1] | {"slot": now["slot"]} == now


async def test_analytics_are_told_now_and_then_and_the_last_of_them_for_sure(
    world: World,
) -> None:
    owner, indexer = await world.owner(), world.indexer()
    hasty = balances(world, apart=3600)
    for amount in (500, 30, 7):
        await world.act(owner, world.deposit(owner, amount))
        await indexer.catch_up()
        complete = await hasty.run_once()
    assert not complete
    assert [row.data["tvl"] for row in await world.outbox("analytics_update")] == [500]
    await world.execute("UPDATE told SET told_at = told_at - interval '1 hour'")
    assert await hasty.run_once()
    assert [row.data["tvl"] for row in await world.outbox("analytics_update")] == [500, 537]
    assert [row.data["total"] for row in await world.outbox("tvl_update")] == [500, 530, 537]


async def test_old_messages_go_and_what_is_of_record_stays(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 900))
    await world.indexer().catch_up()
    await world.execute("UPDATE outbox SET created_at = now() - interval '25 hours'")
    await Retention(database=world.database, board=world.board).run_once()
    assert await world.outbox() == []
    assert await world.history(owner) == [("deposit", 900, 900)]
