"""Every subscriber receives every committed message in one order, whoever wrote it."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.delivery.broadcaster import BATCH_SIZE, Broadcaster
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.outbox_notifier import (
    CHANNEL,
    OutboxNotifier,
    PostgresOutboxNotifier,
    RedisOutboxNotifier,
)
from cvms.store.postgres.database import Database
from cvms.store.redis.redis_client import open_redis
from tests.nursery.delivery.mailbox import Mailbox
from tests.nursery.world import running, until
from tests.redis_server import RedisServer


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


def broadcaster(
    database: Database,
    hub: Hub,
    *,
    wake: OutboxWakeup | None = None,
    notifier: OutboxNotifier | None = None,
) -> Broadcaster:
    """Return a broadcaster that reads only when it is woken."""
    return Broadcaster(
        database=database,
        hub=hub,
        wake=wake or OutboxWakeup(),
        notifier=notifier or PostgresOutboxNotifier(database),
        board=StatusBoard(),
        poll_seconds=1_000,
    )


async def test_two_producers_yield_one_order_without_a_gap(database: Database) -> None:
    hub = Hub()
    await broadcaster(database, hub).run_once()
    subscriber = Mailbox(hub, ("deposit_event", None), ("withdraw_event", None))

    async def produce(topic: str) -> None:
        for number in range(40):
            await append(database, number, number, topic=topic)

    async with running(broadcaster(database, hub).run), trio.open_nursery() as producers:
        producers.start_soon(produce, "deposit_event")
        producers.start_soon(produce, "withdraw_event")
        received = await subscriber.take(160)
    assert [position for position, _, _ in received] == list(range(1, 161))
    for topic in ("deposit_event", "withdraw_event"):
        assert [seq for _, name, seq in received if name == topic] == list(range(1, 81))


async def test_what_was_written_before_the_start_is_not_sent_again(database: Database) -> None:
    await append(database, 1, 2)
    hub = Hub()
    task = broadcaster(database, hub)
    await task.run_once()
    subscriber = Mailbox(hub, ("deposit_event", None))
    await append(database, 3)
    await task.run_once()
    assert await subscriber.take(1) == [(3, "deposit_event", 3)]


async def test_a_subscriber_from_before_the_start_starts_over(database: Database) -> None:
    """It has read up to some position; what was written since would never reach it."""
    hub = Hub()
    subscriber = Mailbox(hub, ("deposit_event", None))
    await append(database, 1, 2)
    await broadcaster(database, hub).run_once()
    assert subscriber.dropped
    assert hub.position == 2


async def test_a_restart_continues_at_the_position_of_the_hub(database: Database) -> None:
    hub = Hub()
    await broadcaster(database, hub).run_once()
    subscriber = Mailbox(hub, ("deposit_event", None))
    await append(database, 1, 2)
    await broadcaster(database, hub).run_once()
    await append(database, 3)
    await broadcaster(database, hub).run_once()
    assert [position for position, _, _ in await subscriber.take(3)] == [1, 2, 3]


async def test_subscribers_start_over_when_messages_were_pruned_unseen(database: Database) -> None:
    hub = Hub()
    task = broadcaster(database, hub)
    await task.run_once()
    subscriber = Mailbox(hub, ("deposit_event", None))
    await append(database, 1, 2)
    async with database.connection() as conn:
        await conn.execute("DELETE FROM outbox WHERE position = 1")
    await task.run_once()
    assert subscriber.dropped
    assert hub.position == 2


async def test_messages_of_another_process_arrive_without_a_local_wakeup(
    database: Database,
) -> None:
    hub = Hub()
    await broadcaster(database, hub).run_once()
    subscriber = Mailbox(hub, ("deposit_event", None))
    async with running(broadcaster(database, hub).run):
        await append(database, 1)
        await subscriber.take(1)
        await append(database, 2)
        await subscriber.take(1)


@pytest.mark.parametrize("count", [BATCH_SIZE - 1, BATCH_SIZE, BATCH_SIZE + 1, 3 * BATCH_SIZE])
async def test_a_burst_is_published_in_batches(database: Database, count: int) -> None:
    """Each batch is one write to each client, however many events it contains."""
    hub = Hub()
    await broadcaster(database, hub).run_once()
    subscriber = Mailbox(hub, ("deposit_event", None))
    await append(database, *range(count))
    await broadcaster(database, hub).run_once()
    assert [seq for _, _, seq in await subscriber.take(count)] == list(range(1, count + 1))
    assert subscriber.flushed == -(-count // BATCH_SIZE)


async def test_replicas_notify_each_other_through_redis_and_without_it(
    database: Database, redis_server: RedisServer
) -> None:
    hub, wake = Hub(), OutboxWakeup()
    async with open_redis(redis_server.url) as redis:
        assert redis is not None
        writer = broadcaster(
            database, Hub(), wake=wake, notifier=RedisOutboxNotifier(redis, database)
        )
        reader = broadcaster(database, hub, notifier=RedisOutboxNotifier(redis, database))
        await reader.run_once()
        subscriber = Mailbox(hub, ("deposit_event", None))
        async with running(reader.run, writer.run):
            await until(partial(listeners, redis_server, 2))
            await append(database, 1)
            wake.wake()
            await subscriber.take(1)

            # Redis still takes subscriptions, and refuses what is published.
            redis_server.client.acl_setuser("default", commands=["-publish"])
            await append(database, 2)
            wake.wake()
            await subscriber.take(1)

            redis_server.kill()  # from now on, only PostgreSQL notifies
            await append(database, 3)
            await subscriber.take(1)

            redis_server.start()
            await until(partial(listeners, redis_server, 2), seconds=30)
            await append(database, 4)
            wake.wake()
            assert await subscriber.take(1) == [(4, "deposit_event", 4)]


async def listeners(server: RedisServer, count: int) -> bool:
    [(_, number)] = server.client.pubsub_numsub(CHANNEL)
    return bool(number == count)
