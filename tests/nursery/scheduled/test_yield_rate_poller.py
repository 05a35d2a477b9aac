"""Yield rates are read on a schedule and stored, whether or not another source fails."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from solders.pubkey import Pubkey

from cvms.chain.yields.rates import ProtocolName
from cvms.chain.yields.sources import YieldSource
from cvms.nursery.scheduled.yield_rate_poller import YieldRatePoller
from cvms.nursery.supervision.supervisor import periodic_task
from cvms.nursery.wiring.leader_tasks import build_yield_rate_poller
from cvms.store.vaults import yield_rates
from cvms.store.vaults.yield_rates import StoredRate
from tests.nursery.program_steps import pool_of
from tests.nursery.world import World, running, until


def sources(world: World) -> list[YieldSource]:
    return [
        YieldSource(ProtocolName.YIELD_POOL, pool_of(world)),
        YieldSource(ProtocolName.SOLEND, Pubkey([7] * 32)),
    ]


def poller(world: World) -> YieldRatePoller:
    resources = replace(world.resources, yield_sources=tuple(sources(world)))
    return build_yield_rate_poller(resources)


async def newest(world: World) -> list[StoredRate]:
    wanted = [(source.protocol, str(source.address)) for source in sources(world)]
    async with world.database.connection() as conn:
        return await yield_rates.newest(conn, wanted)


async def count(world: World) -> int:
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT count(*) FROM protocol_apy")
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def test_each_reading_is_stored_with_its_slot_and_the_newest_is_returned(
    world: World,
) -> None:
    await poller(world).run_once()
    first = await newest(world)
    pool, solend = first
    assert (pool.protocol, pool.supply_apy, pool.reason) == ("yield_pool", Decimal("0.05"), None)
    assert pool.mint == str(world.programs.mint)
    assert (solend.reason, solend.supply_apy) == ("no_account", None)

    async def later() -> bool:
        await poller(world).run_once()
        return (await newest(world))[0].source_slot > pool.source_slot

    await until(later)
    assert await count(world) >= 4
    assert 0 <= pool.age < 60


async def test_the_same_slot_read_twice_is_one_row(world: World) -> None:
    world.chain.chain.pause()
    await poller(world).run_once()
    before = await newest(world)
    await poller(world).run_once()
    after = await newest(world)
    assert await count(world) == 2
    assert [rate.source_slot for rate in after] == [rate.source_slot for rate in before]


async def test_it_reads_on_its_schedule(world: World) -> None:
    async def several() -> bool:
        return await count(world) >= 6

    _, run = periodic_task(
        world.board, "yield_rates", 0.05, poller(world).run_once, metrics=world.metrics
    )
    async with running(run):
        await until(several)
    assert world.board.tasks["yield_rates"].last_success is not None


async def test_readings_are_kept_for_a_year(world: World) -> None:
    await poller(world).run_once()
    await world.execute(
        "UPDATE protocol_apy SET read_at = now() - interval '367 days' WHERE protocol = 'solend'"
    )
    async with world.database.connection() as conn:
        assert await yield_rates.prune(conn, timedelta(days=366)) == 1
    assert [rate.protocol for rate in await newest(world)] == ["yield_pool"]
