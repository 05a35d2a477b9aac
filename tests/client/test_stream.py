"""A stream tells every event once and in order, whatever happens to its connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Event, Snapshot, SubscriptionRefused, Topic, open_client
from cvms.client.stream import Stream
from tests.http.conftest import Service, event, running

ALICE, BOB = str(Keypair().pubkey()), str(Keypair().pubkey())
TOPIC = "deposit_event"


class Gate:
    """A port before the service, whose connections a test can break and refuse."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.open = True
        self.connections = 0
        self._service = port
        self._scopes: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """Break every connection, without a word."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        if not self.open:
            return
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            async with await trio.open_tcp_stream("127.0.0.1", self._service) as service:
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(_forward, client, service, nursery)
                        nursery.start_soon(_forward, service, client, nursery)
                except* trio.BrokenResourceError:
                    scope.cancel()
        self._scopes.discard(scope)


async def _forward(
    source: trio.SocketStream, sink: trio.SocketStream, nursery: trio.Nursery
) -> None:
    async for data in source:
        await sink.send_all(data)
    nursery.cancel_scope.cancel()


@asynccontextmanager
async def gated(service: Service) -> AsyncIterator[tuple[Gate, str]]:
    gate = Gate(service.port)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, gate.serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        gate.port = listener.socket.getsockname()[1]
        yield gate, f"http://127.0.0.1:{gate.port}"
        nursery.cancel_scope.cancel()


async def told(stream: Stream, count: int) -> list[Event | Snapshot]:
    with trio.fail_after(20):
        return [await anext(stream) for _ in range(count)]


async def seqs(stream: Stream, count: int) -> list[int]:
    return [each.seq for each in await told(stream, count)]


async def test_a_snapshot_first_and_then_each_event(service: Service) -> None:
    await service.publish(event(TOPIC, 1, ALICE))
    async with (
        open_client(service.url) as client,
        client.stream(Topic(TOPIC, owner=ALICE)) as stream,
    ):
        [first] = await told(stream, 1)
        assert isinstance(first, Snapshot)
        assert (first.seq, first.owner, first.reset) == (1, ALICE, False)
        await service.publish(event(TOPIC, 2, BOB), event(TOPIC, 3, ALICE))
        [second] = await told(stream, 1)
        assert isinstance(second, Event)
        assert (second.type, second.seq, second.data["number"]) == ("event", 3, 3)


async def test_what_was_missed_while_the_connection_was_away_is_told_once(
    service: Service,
) -> None:
    async with (
        gated(service) as (gate, url),
        open_client(url) as client,
        client.stream(Topic(TOPIC), Topic("lock_event", owner=ALICE)) as stream,
    ):
        await told(stream, 2)
        published = 0
        for _ in range(5):
            await service.publish(event(TOPIC, 1, ALICE))
            gate.open = False
            gate.cut()
            await service.publish(event(TOPIC, 2, BOB), event(TOPIC, 3, ALICE))
            gate.open = True
            published += 3
            assert await seqs(stream, 3) == [published - 2, published - 1, published]
        assert gate.connections > 5


async def test_who_was_away_too_long_is_told_to_start_over(service: Service) -> None:
    await service.publish(*(event(TOPIC, number, ALICE) for number in range(1, 6)))
    async with service.database.connection() as conn:
        await conn.execute("DELETE FROM outbox WHERE seq < 4")
    async with (
        open_client(service.url) as client,
        client.stream(Topic(TOPIC, since=1)) as stream,
    ):
        [first] = await told(stream, 1)
        assert isinstance(first, Snapshot)
        assert (first.reset, first.seq) == (True, 5)


async def test_a_topic_that_is_refused_is_an_error_of_its_own(service: Service) -> None:
    async with (
        open_client(service.url) as client,
        client.stream(Topic("weather")) as stream,
    ):
        with pytest.raises(SubscriptionRefused, match="invalid_request"):
            await told(stream, 1)


async def test_a_service_that_restarts_is_found_again(database_url: str) -> None:
    async with running(database_url) as service, gated(service) as (gate, url):  # noqa: SIM117
        async with open_client(url) as client, client.stream(Topic(TOPIC)) as stream:
            await told(stream, 1)
            await service.publish(event(TOPIC, 1, ALICE))
            assert await seqs(stream, 1) == [1]
            service.shutdown.set()
            await service.stopped.wait()
            async with running(database_url) as successor:
                gate._service = successor.port
                await successor.publish(event(TOPIC, 2, ALICE))
                assert await seqs(stream, 1) == [2]
