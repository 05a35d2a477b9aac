"""Readiness probe: the components that are not ready are named, and only those."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import trio

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Slot
from cvms.nursery.supervision import readiness_probe
from cvms.nursery.supervision.readiness_probe import ReadinessProbe
from cvms.nursery.wiring.replica_tasks import build_readiness_probe
from cvms.store.indexed_reads.reader import start_reader
from cvms.store.postgres.database import open_database
from cvms.store.postgres.row_mapping import fetch_value
from tests.nursery.world import World

NOBODY = "http://127.0.0.1:1"


def probe_of(world: World, *, max_lag: int = 1_000, **changes: Any) -> ReadinessProbe:
    resources = replace(world.resources, **changes)
    return replace(build_readiness_probe(resources), max_lag_slots=max_lag)


def failed_components(world: World) -> set[str]:
    return {name for name, component in world.board.components.items() if not component.ok}


async def test_it_is_ready_only_once_missed_transactions_are_applied(world: World) -> None:
    await probe_of(world).probe()
    assert failed_components(world) == {"indexer"}
    await world.indexer().catch_up()
    await probe_of(world).probe()
    assert world.board.ready


async def test_a_lag_beyond_the_bound_is_not_ready_and_is_measured(world: World) -> None:
    world.chain.chain.pause()
    slot = world.chain.chain.advance(20).slot
    world.progress.slot = Slot(slot - 1 - 10)
    await probe_of(world, max_lag=10).probe()
    assert world.board.ready
    assert world.metrics.registry.get_sample_value("cvms_indexer_lag_slots") == 10
    await probe_of(world, max_lag=9).probe()
    assert failed_components(world) == {"indexer"}


async def test_an_unavailable_node_is_named(world: World) -> None:
    await world.indexer().catch_up()
    async with open_rpc([NOBODY]) as rpc:
        await probe_of(world, rpc=rpc).probe()
    assert failed_components(world) == {"rpc", "indexer"}
    assert world.board.components["database"].ok


async def test_it_is_ready_with_one_endpoint_of_two_and_names_both(world: World) -> None:
    await world.indexer().catch_up()
    real = world.chain.rpc_url
    async with open_rpc([f"{NOBODY}/secret", real]) as rpc:
        for _ in range(3):
            await probe_of(world, rpc=rpc).probe()
    assert world.board.ready
    detail = world.board.components["rpc"].detail
    assert "127.0.0.1:1 is down" in detail
    assert f"{real.removeprefix('http://')} answers, at slot" in detail
    assert "secret" not in detail


async def test_an_unavailable_or_empty_database_is_named(world: World, database_url: str) -> None:
    await world.indexer().catch_up()
    async with open_database("postgresql://nobody@127.0.0.1:1/nothing") as away:
        await probe_of(world, database=away).probe()
    assert failed_components(world) == {"database"}
    async with open_database(database_url) as bare:
        await probe_of(world, database=bare).probe()
        assert failed_components(world) == {"database"}
        assert "schema" in world.board.components["database"].detail
        await bare.prepare()
        await probe_of(world, database=bare).probe()
    assert world.board.ready


async def test_reads_are_answered_without_chain_or_disk_and_not_without_database(
    world: World, database_url: str
) -> None:
    assert world.board.traffic_trouble == "database: not checked"
    async with world.database.dedicated() as conn:
        await conn.execute(REFUSE_WRITES.encode())
    async with open_rpc([NOBODY]) as rpc:
        await probe_of(world, rpc=rpc).probe()
    assert failed_components(world) == {"database", "rpc", "indexer"}
    assert world.board.traffic_trouble is None
    async with open_database("postgresql://nobody@127.0.0.1:1/nothing") as away:
        await probe_of(world, database=away).probe()
    assert world.board.traffic_trouble == "database: refused"
    async with open_database(database_url) as bare:  # before its schema was applied
        await probe_of(world, database=bare).probe()
    assert world.board.traffic_trouble == "database: no schema"


async def test_a_replica_that_is_down_is_shown_and_the_service_ready(world: World) -> None:
    await world.indexer().catch_up()
    async with trio.open_nursery() as tasks:
        reader = start_reader(
            world.database,
            world.resources.queries,
            tasks,
            urls=("postgresql://nobody:secret@127.0.0.1:1/nothing",),
            program=str(world.programs.vault),
            metrics=world.resources.metrics,
        )
        await reader.check()
        await probe_of(world, reader=reader).probe()
        tasks.cancel_scope.cancel()
    assert world.board.ready
    database = world.board.components["database"]
    assert "; read replica 1 (127.0.0.1:1): " in database.detail
    assert "refused" in database.detail
    assert "secret" not in database.detail
    assert database.without_detail().detail == "ok"


REFUSE_WRITES = """
CREATE FUNCTION refuse() RETURNS TRIGGER LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'no space' USING ERRCODE = 'disk_full';
END
$$;
CREATE TRIGGER refuse BEFORE UPDATE ON write_probe EXECUTE FUNCTION refuse();
"""


async def test_a_database_that_cannot_write_is_named(world: World) -> None:
    await world.indexer().catch_up()
    async with world.database.dedicated() as conn:
        await conn.execute(REFUSE_WRITES.encode())
    probe = probe_of(world)
    for _ in range(2):  # until a write succeeds, not only when one is due
        await probe.probe()
        assert failed_components(world) == {"database"}
        assert "no space" in world.board.components["database"].detail
    await world.execute("DROP TRIGGER refuse ON write_probe")
    await probe.probe()
    assert world.board.ready


async def test_a_database_that_does_not_answer_a_write_is_named(world: World) -> None:
    await world.indexer().catch_up()
    async with world.database.transaction() as conn:
        await conn.execute("LOCK TABLE write_probe")
        await probe_of(world).probe()
    assert failed_components(world) == {"database"}
    assert "no answer to a write" in world.board.components["database"].detail
    await probe_of(world).probe()
    assert world.board.ready


async def test_not_every_probe_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness_probe, "WRITE_SECONDS", math.inf)
    probe, times = probe_of(world), set()
    for _ in range(3):
        await probe.probe()
        async with world.database.connection() as conn:
            times.add(await fetch_value(conn, "SELECT written_at FROM write_probe"))
    [written_at] = times
    assert written_at > datetime(2000, 1, 1, tzinfo=UTC)


async def test_a_write_that_gets_no_answer_is_a_timeout(world: World, database_url: str) -> None:
    await world.indexer().catch_up()
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE write_probe")
        await probe_of(world).probe()
    part = world.board.components["database"]
    assert (part.ok, part.kind) == (False, "timeout")
    assert "no answer to a write" in part.detail
