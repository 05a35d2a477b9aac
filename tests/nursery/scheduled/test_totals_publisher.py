"""Totals over all vaults are exported as a metric, and published only when they change."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import trio

from cvms.nursery.scheduled.retention import Retention
from cvms.nursery.scheduled.totals_publisher import TotalsPublisher
from cvms.nursery.wiring.leader_tasks import build_totals_publisher
from cvms.store.analytics import overview
from cvms.store.postgres.database import Database, open_database
from tests.nursery.world import World


def publisher(
    world: World, database: Database | None = None, *, min_interval: float = 0.0
) -> TotalsPublisher:
    return replace(
        build_totals_publisher(world.resources),
        database=database or world.database,
        analytics_min_interval=timedelta(seconds=min_interval),
    )


async def test_the_total_value_is_published_on_change_and_once_by_two_replicas(
    world: World, database_url: str
) -> None:
    owner, indexer = await world.owner(), world.indexer()
    async with open_database(database_url) as other:
        await other.prepare()
        one, two = publisher(world), publisher(world, other)
        for step in (world.deposit(owner, 900), world.withdraw(owner, 200)):
            await world.act(owner, step)
            await indexer.catch_up()
            async with trio.open_nursery() as nursery:
                for task in (one, two, one, two):
                    nursery.start_soon(task.run_once)
        await publisher(world).run_once()  # after a restart
    assert [row.data["total"] for row in await world.outbox("tvl_update")] == [900, 700]
    assert world.metrics.registry.get_sample_value("cvms_total_value_locked") == 700
    published = [row.data for row in await world.outbox("analytics_update")]
    assert [data["tvl"] for data in published] == [900, 700]
    async with world.database.connection() as conn:
        now = msgspec.to_builtins(await overview.read(conn, str(world.programs.vault)))
    assert published[-1] | {"slot": now["slot"]} == now


async def test_analytics_are_published_at_intervals_and_the_last_change_for_certain(
    world: World,
) -> None:
    owner, indexer = await world.owner(), world.indexer()
    rare = publisher(world, min_interval=3600)
    for amount in (500, 30, 7):
        await world.act(owner, world.deposit(owner, amount))
        await indexer.catch_up()
        complete = await rare.run_once()
    assert not complete
    assert [row.data["tvl"] for row in await world.outbox("analytics_update")] == [500]
    await world.execute("UPDATE told SET told_at = told_at - interval '1 hour'")
    assert await rare.run_once()
    assert [row.data["tvl"] for row in await world.outbox("analytics_update")] == [500, 537]
    assert [row.data["total"] for row in await world.outbox("tvl_update")] == [500, 530, 537]


async def test_old_messages_are_pruned_and_tables_of_record_are_kept(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 900))
    await world.indexer().catch_up()
    await world.execute("UPDATE outbox SET created_at = now() - interval '25 hours'")
    await Retention(database=world.database).run_once()
    assert await world.outbox() == []
    assert await world.history(owner) == [("deposit", 900, 900)]
