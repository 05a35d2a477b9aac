"""The metrics of several workers as those of one service."""

from __future__ import annotations

import math
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from cvms.errors import Overloaded
from cvms.metrics.snapshot import Snapshot
from cvms.nursery.supervision import worker_metrics
from cvms.nursery.supervision.worker_metrics import MetricsGatherer, WorkerMetrics, open_channel

RESENDS = "cvms_transaction_resends_total"


@pytest.fixture
def service() -> MetricsGatherer:
    return MetricsGatherer()


@asynccontextmanager
async def worker(service: MetricsGatherer) -> AsyncIterator[WorkerMetrics]:
    """A worker of the service, until the end of the block, and then until the parent knows."""
    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as parent:
        parent.start_soon(service.serve, ours)
        async with trio.open_nursery() as running:
            of_worker = WorkerMetrics(open_channel(theirs))
            running.start_soon(of_worker.run)
            yield of_worker
            running.cancel_scope.cancel()


def value(snapshot: Snapshot, name: str) -> float:
    [found] = [each.value for family in snapshot for each in family.samples if each.name == name]
    return found


async def scrape(of_worker: WorkerMetrics) -> Snapshot:
    with trio.fail_after(10):
        return await of_worker.metrics.exposition.read()


async def test_counters_and_gauges_of_all_workers_become_one(service: MetricsGatherer) -> None:
    async with worker(service) as one, worker(service) as other:
        for each, number in ((one, 2), (other, 3)):
            each.metrics.submissions.resends.inc(number)
            each.metrics.websockets.clients.set(number)
            each.metrics.indexing.slot.set(number)
            each.metrics.operator.pays.set(number - 2)
        one.metrics.operator.lamports.set(7)
        for each in (one, other):
            seen = await scrape(each)
            assert value(seen, RESENDS) == 5
            assert value(seen, "cvms_websocket_clients") == 5
            assert value(seen, "cvms_indexer_slot") == 3
            assert value(seen, "cvms_operator_pays") == 0
            assert value(seen, "cvms_operator_lamports") == 7  # the other does not know it
            assert math.isnan(value(seen, "cvms_audit_head"))


async def test_what_the_database_has_is_that_of_the_worker_that_is_scraped(
    service: MetricsGatherer,
) -> None:
    async with worker(service) as one, worker(service) as other:
        one.metrics.vaults.total_value_locked.set(900)
        other.metrics.vaults.total_value_locked.set(500)
        for name in ("total_value_locked", "cvms_total_value_locked"):
            assert value(await scrape(other), name) == 500


async def test_counters_of_workers_that_have_ended_stay_and_their_gauges_do_not(
    service: MetricsGatherer,
) -> None:
    async with worker(service) as one:
        for _ in range(2):
            async with worker(service) as other:
                other.metrics.websockets.clients.set(4)
                await scrape(one)
                other.metrics.submissions.resends.inc()  # after the last scrape
            assert value(await scrape(one), "cvms_websocket_clients") == 0
        assert value(await scrape(one), RESENDS) == 2


async def test_a_worker_that_is_stuck_delays_a_scrape_by_a_second_and_keeps_its_counters(
    service: MetricsGatherer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_metrics, "ANSWER_SECONDS", 0.2)
    ours, theirs = socket.socketpair()
    async with worker(service) as one, trio.open_nursery() as parent:
        parent.start_soon(service.serve, ours)
        stuck = open_channel(theirs)
        one.metrics.submissions.resends.inc()
        one.metrics.websockets.clients.inc()
        await stuck.send("last", 0, await scrape(one))
        seen = await scrape(one)
        assert value(seen, RESENDS) == 2
        assert value(seen, "cvms_websocket_clients") == 1
        await stuck.aclose()


async def test_scrapes_at_the_same_time_share_rounds(service: MetricsGatherer) -> None:
    async with worker(service) as one, worker(service) as other:
        async with trio.open_nursery() as scrapes:
            for each in [one, other] * 20:
                scrapes.start_soon(scrape, each)
        assert service.rounds <= 4


async def test_without_an_answer_of_the_parent_a_scrape_fails_instead_of_going_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_metrics, "GATHER_SECONDS", 0.1)
    ours, theirs = socket.socketpair()
    with ours:
        alone = WorkerMetrics(open_channel(theirs))
        async with trio.open_nursery() as running:
            running.start_soon(alone.run)
            with pytest.raises(Overloaded, match="other workers"):
                await scrape(alone)
            running.cancel_scope.cancel()


async def test_a_message_of_another_release_ends_the_channel_and_no_process(
    service: MetricsGatherer,
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"\x00\x00\x00\x02\xc1\xc1")
        with trio.fail_after(10):
            await service.serve(ours)
    async with worker(service) as one:
        assert value(await scrape(one), RESENDS) == 0
