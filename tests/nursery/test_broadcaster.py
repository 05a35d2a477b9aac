"""Every subscriber sees every committed message, in one order, whoever wrote it."""

from __future__ import annotations

import trio

from cvms.nursery.broadcaster import Broadcaster
from cvms.nursery.channels import SUBSCRIBER_QUEUE, Board, Hub, OutboxWake, Subscriber
from cvms.store import outbox
from cvms.store.database import Database
from cvms.store.outbox import OutboxMessage
from tests.nursery.world import running


def message(number: int, topic: str = "deposit_event") -> OutboxMessage:
    return OutboxMessage(
        topic=topic,
        owner="alice",
        slot=number,
        signature=None,
        commitment="confirmed",
        data={"number": number},
    )


async def append(database: Database, *numbers: int, topic: str = "deposit_event") -> None:
    async with database.transaction() as conn:
        await outbox.append(conn, [message(number, topic) for number in numbers])


def broadcaster(database: Database, hub: Hub, look_seconds: float = 1_000) -> Broadcaster:
    return Broadcaster(
        database=database,
        hub=hub,
        wake=OutboxWake(),
        board=Board(),
        look_seconds=look_seconds,
    )


async def receive(subscriber: Subscriber, count: int) -> list[tuple[int, str, int]]:
    with trio.fail_after(10):
        frames = [await subscriber.receive() for _ in range(count)]
    return [(frame.position, frame.topic, frame.seq) for frame in frames]


async def test_two_producers_give_one_order_without_a_gap(database: Database) -> None:
    hub = Hub()
    await broadcaster(database, hub).publish()
    subscriber = hub.register()
    for topic in ("deposit_event", "withdraw_event"):
        subscriber.subscribe(topic)

    async def produce(topic: str) -> None:
        for number in range(40):
            await append(database, number, number, topic=topic)

    async with running(broadcaster(database, hub).run), trio.open_nursery() as producers:
        producers.start_soon(produce, "deposit_event")
        producers.start_soon(produce, "withdraw_event")
        got = await receive(subscriber, 160)
    assert [position for position, _, _ in got] == list(range(1, 161))
    for topic in ("deposit_event", "withdraw_event"):
        assert [seq for _, each, seq in got if each == topic] == list(range(1, 81))


async def test_much_at_once_does_not_close_who_takes_it_as_it_comes(database: Database) -> None:
    hub = Hub()
    await broadcaster(database, hub).publish()
    subscriber = hub.register()
    subscriber.subscribe("deposit_event")
    await append(database, *range(3 * SUBSCRIBER_QUEUE))
    async with running(broadcaster(database, hub).run):
        got = await receive(subscriber, 3 * SUBSCRIBER_QUEUE)
    assert [seq for _, _, seq in got] == list(range(1, 3 * SUBSCRIBER_QUEUE + 1))


async def test_what_was_written_before_the_start_is_not_sent_again(database: Database) -> None:
    await append(database, 1, 2)
    hub = Hub()
    subscriber = hub.register()
    subscriber.subscribe("deposit_event")
    task = broadcaster(database, hub)
    await task.publish()
    await append(database, 3)
    await task.publish()
    assert await receive(subscriber, 1) == [(3, "deposit_event", 3)]


async def test_a_restart_goes_on_where_the_hub_stands(database: Database) -> None:
    hub = Hub()
    await broadcaster(database, hub).publish()
    subscriber = hub.register()
    subscriber.subscribe("deposit_event")
    await append(database, 1, 2)
    await broadcaster(database, hub).publish()
    await append(database, 3)
    await broadcaster(database, hub).publish()
    assert [position for position, _, _ in await receive(subscriber, 3)] == [1, 2, 3]


async def test_subscribers_start_over_when_messages_were_pruned_unseen(database: Database) -> None:
    hub = Hub()
    task = broadcaster(database, hub)
    await task.publish()
    subscriber = hub.register()
    subscriber.subscribe("deposit_event")
    await append(database, 1, 2)
    async with database.connection() as conn:
        await conn.execute("DELETE FROM outbox WHERE position = 1")
    await task.publish()
    assert subscriber.overflowed
    assert hub.position == 2


async def test_another_process_is_heard_without_any_wake_of_ours(database: Database) -> None:
    hub = Hub()
    await broadcaster(database, hub).publish()
    subscriber = hub.register()
    subscriber.subscribe("deposit_event")
    async with running(broadcaster(database, hub).run):
        await append(database, 1)
        await receive(subscriber, 1)
        await append(database, 2)
        await receive(subscriber, 1)
