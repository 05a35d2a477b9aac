"""Backfill: a gap too long for memory is applied, and a restart resumes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment
from cvms.errors import GapNotClosed
from cvms.nursery.indexing.indexer import STUCK_ROUNDS, Indexer
from tests.nursery.index_tables import differing_tables
from tests.nursery.indexing.test_indexer import cancelled_after
from tests.nursery.world import World, until
from tests.provider_proxy import provider
from tests.provider_proxy.history_faults import DoubledEntries, Holes


def narrow(world: World, *, rpc: RpcClient | None = None) -> Indexer:
    """Return an indexer for which more than five transactions are a long gap."""
    indexer = world.indexer(rpc=rpc, batch_size=2)
    indexer.longest_gap = 5
    indexer.backfill.page_size = 3
    indexer.backfill.chunk = 4
    return indexer


async def deposits(world: World, count: int) -> int:
    """Deposit 1, 2, …, wait until all are finalized, and return their sum."""
    owner = await world.owner()
    for amount in range(1, count + 1):
        await world.act(owner, world.deposit(owner, amount), wait=amount == count)
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    return count * (count + 1) // 2


async def test_an_empty_database_and_a_long_gap_are_backfilled(
    world: World, postgres_server: str
) -> None:
    await deposits(world, 8)
    indexer = narrow(world)
    with capture_logs() as logs:
        while not await indexer.catch_up():
            pass
    assert await differing_tables(world, postgres_server) == {}
    async with world.database.connection() as conn:
        found = await conn.execute(b"SELECT DISTINCT commitment FROM chain_events")
        assert await found.fetchall() == [("finalized",)]
    line, *_ = [line for line in logs if line["event"] == "backfill_applied"]
    assert line["total"] >= 8
    world.chain.chain.resume()
    await deposits(world, 9)
    while not await narrow(world).catch_up():
        pass
    assert await differing_tables(world, postgres_server) == {}
    assert await world.problems() == []
    assert await left(world) == (0, 0)


async def test_a_first_index_from_a_pruned_node_logs_a_warning(world: World) -> None:
    await deposits(world, 2)
    with capture_logs() as logs:
        await world.indexer().catch_up()
    assert [line for line in logs if line["event"] == "history_may_begin_late"] == []
    await world.execute("TRUNCATE indexer_cursor")
    world.chain.faults.history.first_slot = 2
    with capture_logs() as late:
        await world.indexer().catch_up()
    [line] = [line for line in late if line["event"] == "history_may_begin_late"]
    assert (line["log_level"], line["first_block"]) == ("warning", 2)


async def test_killed_at_any_point_it_resumes(world: World, postgres_server: str) -> None:
    await deposits(world, 8)
    step, listed = 0, 0
    while True:
        step += 17
        if not await cancelled_after(step, narrow(world).catch_up):
            break
        listed = max(listed, (await left(world))[0])
        world.resources.reconcile_queue.take()
    assert listed > 8
    while not await narrow(world).catch_up():
        pass
    assert await differing_tables(world, postgres_server) == {}
    assert await world.problems() == []


async def test_a_backfill_that_does_not_reach_the_cursor_is_not_applied(world: World) -> None:
    await deposits(world, 3)
    await world.indexer().catch_up()
    world.chain.chain.resume()
    await deposits(world, 8)
    before = await world.cursor()
    await world.execute("UPDATE indexer_cursor SET signature = 'unknown'")
    with pytest.raises(GapNotClosed):
        await narrow(world).catch_up()
    assert await left(world) == (0, 0)
    assert world.progress.problem is not None
    assert before is not None
    await world.execute("UPDATE indexer_cursor SET signature = %s", before.signature)

    async def done() -> bool:
        return await narrow(world).catch_up()

    await until(done)
    assert await world.problems() == []


async def test_a_list_that_has_a_transaction_twice_is_asked_of_another_endpoint(
    world: World,
) -> None:
    await deposits(world, 8)
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, DoubledEntries(share=1.0)) as first,
        open_rpc([first.url, world.chain.rpc_url]) as rpc,
    ):
        await rpc.probe()
        indexer = narrow(world, rpc=rpc)
        await indexer.backfill.begin(None)
        for _ in range(2 * STUCK_ROUNDS):
            with pytest.raises(GapNotClosed):
                await indexer.catch_up()
        assert "twice" in str(world.progress.problem)
        assert not await indexer.catch_up()
        assert await left(world) == (0, 0)
        assert world.progress.problem is None
    assert await world.problems() == []


class RepeatsASlot(RpcClient):
    """A node whose pages have one transaction each, those of one slot over and over."""

    pages: Iterator[SignatureInfo]

    async def get_signatures_for_address(self, *args: Any, **kwargs: Any) -> list[SignatureInfo]:
        await trio.lowlevel.checkpoint()
        return [next(self.pages)]


async def test_pages_that_repeat_within_a_slot_are_not_listed_for_ever(world: World) -> None:
    await deposits(world, 4)
    listed = await world.rpc.get_signatures_for_address(
        world.programs.vault, commitment=Commitment.FINALIZED, limit=3
    )
    node = RepeatsASlot(world.rpc._transport)
    node.pages = cycle([replace(info, slot=listed[0].slot) for info in listed])
    indexer = narrow(world)
    await indexer.backfill.begin(None)
    with trio.fail_after(10), pytest.raises(GapNotClosed, match="does not go on"):
        await indexer.backfill.list_missing(None, node)
    assert await left(world) == (3, 1)
    await indexer.backfill.drop()  # its slots are made up
    while not await indexer.catch_up():
        pass
    assert await world.problems() == []


async def test_a_transaction_that_no_node_gives_is_named_as_the_reason(world: World) -> None:
    await deposits(world, 8)
    listed = await world.rpc.get_signatures_for_address(
        world.programs.vault, commitment=Commitment.FINALIZED, limit=5
    )
    hole = Holes(methods=("getTransaction",), signatures=[listed[4].signature])
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, hole) as node,
        open_rpc([node.url]) as rpc,
    ):
        indexer = narrow(world, rpc=rpc)
        for _ in range(2 * STUCK_ROUNDS):
            assert not await indexer.catch_up()
        cursor = await world.cursor()
        assert cursor is not None
        assert cursor.signature in str(world.progress.problem)
        node.faults.clear()
        while not await indexer.catch_up():
            pass
    assert world.progress.problem is None
    assert await world.problems() == []


async def left(world: World) -> tuple[int, int]:
    """Return the number of transactions to apply, and of backfills."""
    query = b"SELECT (SELECT count(*) FROM backlog), (SELECT count(*) FROM backlog_head)"
    async with world.database.connection() as conn:
        row = await (await conn.execute(query)).fetchone()
    assert row is not None
    return row[0], row[1]
