"""A stream tells every event once and in order, whatever happens to its connections."""

from __future__ import annotations

import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Event, Problem, Snapshot, SubscriptionRefused, Topic, open_client
from cvms.client.stream import Stream
from cvms.store.messaging import outbox
from tests.client.gate import gated
from tests.http.conftest import Service, event, running

ALICE, BOB = str(Keypair().pubkey()), str(Keypair().pubkey())
TOPIC = "deposit_event"


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
        gated(service.port) as (gate, url),
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
    async with (
        running(database_url) as service,
        gated(service.port) as (gate, url),
        open_client(url) as client,
        client.stream(Topic(TOPIC)) as stream,
    ):
        await told(stream, 1)
        await service.publish(event(TOPIC, 1, ALICE))
        assert await seqs(stream, 1) == [1]
        service.shutdown.set()
        await service.stopped.wait()
        async with running(database_url) as successor:
            gate.port = successor.port
            await successor.publish(event(TOPIC, 2, ALICE))
            assert await seqs(stream, 1) == [2]


async def test_what_is_not_read_is_kept_by_the_service_and_told_later(service: Service) -> None:
    """More than all queues on the way hold: the service cuts the connection off."""
    async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as stream:
        await told(stream, 1)
        for number in range(0, 900, 100):
            events = (event(TOPIC, number, ALICE, padding=4096) for _ in range(100))
            await service.publish(*events)
        assert await seqs(stream, 900) == list(range(1, 901))


async def test_an_event_that_never_came_is_noticed_by_the_next_and_asked_for(
    service: Service,
) -> None:
    async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as stream:
        await told(stream, 1)
        async with service.database.transaction() as conn:
            last = await outbox.append(conn, [event(TOPIC, number) for number in range(3)])
            [first, _, third] = await outbox.after(conn, last - 3)
        service.hub.publish([first, third])
        assert await seqs(stream, 3) == [1, 2, 3]


async def test_what_fails_in_the_block_comes_out_as_it_is(service: Service) -> None:
    async def fail() -> None:
        async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as stream:
            await told(stream, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()


async def test_who_stops_waiting_waits_for_nothing_more(service: Service) -> None:
    """Also while there is nobody to connect to, and while nobody reads."""
    for url in (service.url, "http://127.0.0.1:1"):
        with trio.fail_after(5):
            async with open_client(url) as client, client.stream(Topic(TOPIC)) as stream:
                with trio.move_on_after(0.2) as waiting:
                    async for _ in stream:
                        pass
            assert waiting.cancelled_caught


async def test_where_no_websockets_are_there_is_a_problem_and_it_stays(service: Service) -> None:
    async with (
        open_client(service.url + "/elsewhere") as client,
        client.stream(Topic(TOPIC)) as stream,
    ):
        for _ in range(2):
            with trio.fail_after(5), pytest.raises(Problem, match="404"):
                await anext(stream)


async def test_more_topics_than_the_service_takes_frames_in_a_second(service: Service) -> None:
    owners = [str(Keypair().pubkey()) for _ in range(60)]
    async with (
        open_client(service.url) as client,
        client.stream(*(Topic(TOPIC, owner=owner) for owner in owners)) as stream,
    ):
        assert [each.owner for each in await told(stream, 60) if isinstance(each, Snapshot)] == (
            owners
        )


async def test_a_stream_is_opened_before_it_is_read(service: Service) -> None:
    async with open_client(service.url) as client:
        with pytest.raises(RuntimeError, match="async with"):
            await anext(client.stream(Topic(TOPIC)))
        with pytest.raises(ValueError, match="topic"):
            client.stream()
