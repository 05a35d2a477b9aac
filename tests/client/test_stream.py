"""A stream delivers every event once and in order, whatever happens to its connections."""

from __future__ import annotations

import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Event, Problem, Snapshot, SubscriptionRefused, Topic, open_client
from cvms.client.stream import Stream
from cvms.store.messaging import outbox
from tests.client.gate import gated
from tests.harness.service import Service, event, running

ALICE, BOB = str(Keypair().pubkey()), str(Keypair().pubkey())
TOPIC = "deposit_event"


async def receive(stream: Stream, count: int) -> list[Event | Snapshot]:
    with trio.fail_after(20):
        return [await anext(stream) for _ in range(count)]


async def seqs(stream: Stream, count: int) -> list[int]:
    return [each.seq for each in await receive(stream, count)]


async def test_a_snapshot_first_and_then_each_event(service: Service) -> None:
    await service.publish(event(TOPIC, 1, ALICE))
    async with (
        open_client(service.url) as client,
        client.stream(Topic(TOPIC, owner=ALICE)) as stream,
    ):
        [first] = await receive(stream, 1)
        assert isinstance(first, Snapshot)
        assert (first.seq, first.owner, first.reset) == (1, ALICE, False)
        await service.publish(event(TOPIC, 2, BOB), event(TOPIC, 3, ALICE))
        [second] = await receive(stream, 1)
        assert isinstance(second, Event)
        assert (second.type, second.seq, second.data["number"]) == ("event", 3, 3)


async def test_events_missed_during_a_lost_connection_are_delivered_once(
    service: Service,
) -> None:
    async with (
        gated(service.port) as (gate, url),
        open_client(url) as client,
        client.stream(Topic(TOPIC), Topic("lock_event", owner=ALICE)) as stream,
    ):
        await receive(stream, 2)
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


async def test_a_client_that_was_away_too_long_gets_a_reset(service: Service) -> None:
    await service.publish(*(event(TOPIC, number, ALICE) for number in range(1, 6)))
    async with service.database.connection() as conn:
        await conn.execute("DELETE FROM outbox WHERE seq < 4")
    async with (
        open_client(service.url) as client,
        client.stream(Topic(TOPIC, since=1)) as stream,
    ):
        [first] = await receive(stream, 1)
        assert isinstance(first, Snapshot)
        assert (first.reset, first.seq) == (True, 5)


async def test_a_refused_topic_raises_its_own_error(service: Service) -> None:
    async with (
        open_client(service.url) as client,
        client.stream(Topic("weather")) as stream,
    ):
        with pytest.raises(SubscriptionRefused, match="invalid_request"):
            await receive(stream, 1)


async def test_a_stream_survives_a_restart_of_the_service(database_url: str) -> None:
    async with (
        running(database_url) as service,
        gated(service.port) as (gate, url),
        open_client(url) as client,
        client.stream(Topic(TOPIC)) as stream,
    ):
        await receive(stream, 1)
        await service.publish(event(TOPIC, 1, ALICE))
        assert await seqs(stream, 1) == [1]
        service.shutdown.set()
        await service.stopped.wait()
        async with running(database_url) as successor:
            gate.port = successor.port
            await successor.publish(event(TOPIC, 2, ALICE))
            assert await seqs(stream, 1) == [2]


async def test_unread_events_stay_with_the_service_and_are_delivered_later(
    service: Service,
) -> None:
    """The events do not fit the queues, so the service closes the connection."""
    async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as stream:
        await receive(stream, 1)
        for number in range(0, 900, 100):
            events = (event(TOPIC, number, ALICE, padding=4096) for _ in range(100))
            await service.publish(*events)
        assert await seqs(stream, 900) == list(range(1, 901))


async def test_a_lost_event_is_noticed_by_the_next_one_and_requested_again(
    service: Service,
) -> None:
    async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as stream:
        await receive(stream, 1)
        async with service.database.transaction() as conn:
            last = await outbox.append(conn, [event(TOPIC, number) for number in range(3)])
            [first, _, third] = await outbox.after(conn, last - 3)
        service.hub.publish([first, third])
        assert await seqs(stream, 3) == [1, 2, 3]


async def test_an_exception_in_the_block_is_not_wrapped(service: Service) -> None:
    async def fail() -> None:
        async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as stream:
            await receive(stream, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_cancellation_ends_a_stream_at_once(service: Service) -> None:
    """Also without a service to connect to."""
    for url in (service.url, "http://127.0.0.1:1"):
        with trio.fail_after(5):
            async with open_client(url) as client, client.stream(Topic(TOPIC)) as stream:
                with trio.move_on_after(0.2) as waiting:
                    async for _ in stream:
                        pass
            assert waiting.cancelled_caught


async def test_a_url_without_a_websocket_raises_a_problem_each_time(service: Service) -> None:
    async with (
        open_client(service.url + "/elsewhere") as client,
        client.stream(Topic(TOPIC)) as stream,
    ):
        for _ in range(2):
            with trio.fail_after(5), pytest.raises(Problem, match="404"):
                await anext(stream)


async def test_more_topics_than_frames_that_the_service_accepts_per_second(
    service: Service,
) -> None:
    owners = [str(Keypair().pubkey()) for _ in range(60)]
    async with (
        open_client(service.url) as client,
        client.stream(*(Topic(TOPIC, owner=owner) for owner in owners)) as stream,
    ):
        assert [each.owner for each in await receive(stream, 60) if isinstance(each, Snapshot)] == (
            owners
        )


async def test_a_stream_must_be_opened_before_it_is_read(service: Service) -> None:
    async with open_client(service.url) as client:
        with pytest.raises(RuntimeError, match="async with"):
            await anext(client.stream(Topic(TOPIC)))
        with pytest.raises(ValueError, match="topic"):
            client.stream()
