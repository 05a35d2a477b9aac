"""Every subscriber receives every committed message in one order, whoever wrote it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import trio

from cvms.errors import DatabaseUnavailable
from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub, OutboxFrame
from cvms.nursery.channels.reply_cache import CachedReply, ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.delivery import broadcaster as module
from cvms.nursery.delivery.broadcaster import (
    BATCH_SIZE,
    BURST_ROWS,
    ROWS_PER_SECOND,
    Broadcaster,
    Pace,
)
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.outbox_notifier import (
    CHANNEL,
    OutboxNotifier,
    PostgresOutboxNotifier,
    RedisOutboxNotifier,
)
from cvms.store.messaging.topics import ROW_WRITTEN
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
    replies: ReplyCache | None = None,
    wake: OutboxWakeup | None = None,
    notifier: OutboxNotifier | None = None,
) -> Broadcaster:
    """Return a broadcaster that reads only when it is woken."""
    return Broadcaster(
        database=database,
        hub=hub,
        replies=ReplyCache(max_bytes=0, max_age=0) if replies is None else replies,
        wake=wake or OutboxWakeup(),
        notifier=notifier or PostgresOutboxNotifier(database),
        board=StatusBoard(),
        metrics=Metrics(),
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
    read = task.metrics.registry.get_sample_value
    assert (read("cvms_outbox_published_total"), read("cvms_outbox_lag_seconds")) == (1, 0)


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


def test_a_burst_is_published_without_a_pause_and_a_backlog_at_the_rate() -> None:
    pace, now = Pace(), 100.0
    for _ in range(2):
        pace.begin(now)
        at_once = [pace.pause_after(BATCH_SIZE, now) for _ in range(BURST_ROWS // BATCH_SIZE)]
        assert max(at_once[:-1]) < 1e-9
        assert at_once[-1] == pytest.approx(0.01), "a client's queue is full"
        now += BURST_ROWS / ROWS_PER_SECOND
    began, rows = now, 0
    while rows < 10 * ROWS_PER_SECOND:
        now += pace.pause_after(BATCH_SIZE, now)
        rows += BATCH_SIZE
    assert now - began == pytest.approx(10, rel=0.01)


def test_a_process_that_stood_still_does_not_make_up_for_it() -> None:
    """The clients' queues, which a burst would overflow, have not drained meanwhile."""
    pace, now = Pace(), 100.0
    pace.begin(now)
    for _ in range(10):
        now += pace.pause_after(BATCH_SIZE, now)
    now += 1.0
    pauses = [pace.pause_after(BATCH_SIZE, now) for _ in range(2)]
    assert pauses[0] == pytest.approx(0, abs=1e-9)
    assert pauses[1] == pytest.approx(BATCH_SIZE / ROWS_PER_SECOND)


def test_a_slow_publication_is_not_followed_by_a_pause() -> None:
    pace, now = Pace(), 100.0
    pace.begin(now)
    for _ in range(100):
        assert pace.pause_after(BATCH_SIZE, now) == 0
        now += BATCH_SIZE / ROWS_PER_SECOND


async def test_after_a_rest_a_burst_is_published_without_a_pause_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_PER_SECOND", 640)
    publisher = broadcaster(database, Hub())
    await publisher.run_once()
    pauses: list[float] = []
    pause_after = Pace.pause_after

    def noting(pace: Pace, rows: int, now: float) -> float:
        pauses.append(pause_after(pace, rows, now))
        return pauses[-1]

    monkeypatch.setattr(Pace, "pause_after", noting)
    for _ in range(2):
        pauses.clear()
        await append(database, *range(BURST_ROWS - BATCH_SIZE))
        await publisher.run_once()
        assert pauses == [0.0] * 3
        await trio.sleep(BURST_ROWS / 640)


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


# --- replies of this process ---------------------------------------------------------------------


class Reader(Mailbox):
    """A subscriber that looks up its owner's reply whenever it hears of a change."""

    def __init__(self, hub: Hub, replies: ReplyCache) -> None:
        super().__init__(hub, ("deposit_event", "alice"))
        self._replies = replies
        self.found: list[CachedReply | None] = []

    def offer(self, frame: OutboxFrame) -> None:
        self.found.append(self._replies.get("alice"))
        super().offer(frame)


OLD = CachedReply(b"{}", "1", 1)


def keep_old(replies: ReplyCache, *owners: str) -> None:
    for owner in owners:
        replies.keep(owner, replies.begin(), OLD)


def replies_in_memory() -> ReplyCache:
    return ReplyCache(max_bytes=100_000, max_age=1_000)


async def test_a_reply_is_dropped_before_a_client_hears_of_the_change(database: Database) -> None:
    hub, replies = Hub(), replies_in_memory()
    task = broadcaster(database, hub, replies=replies)
    with replies.followed():
        await task.run_once()
        keep_old(replies, "alice", "bob")
        assert replies.get("alice") == OLD
        reader = Reader(hub, replies)
        await append(database, 1)
        await task.run_once()
        await reader.take(1)
        assert reader.found == [None]
        assert replies.get("bob") == OLD


async def test_a_message_that_any_row_was_written_drops_every_reply(database: Database) -> None:
    hub, replies = Hub(), replies_in_memory()
    task = broadcaster(database, hub, replies=replies)
    with replies.followed():
        await task.run_once()
        for topic, kept in (("tvl_update", OLD), (ROW_WRITTEN, None)):
            keep_old(replies, "alice")
            async with database.transaction() as conn:
                await outbox.append(conn, [replace(message(1, topic), owner=None)])
            await task.run_once()
            assert replies.get("alice") == kept


@pytest.mark.parametrize("lost", ["DELETE FROM outbox", "UPDATE outbox_head SET position = 1"])
async def test_replies_are_dropped_when_rows_were_missed(database: Database, lost: str) -> None:
    hub, replies = Hub(), replies_in_memory()
    task = broadcaster(database, hub, replies=replies)
    await append(database, 1, 2)
    with replies.followed():
        await task.run_once()
        keep_old(replies, "alice", "bob")
        await append(database, 3, 4)
        async with database.connection() as conn:
            await conn.execute("DELETE FROM outbox")
            await conn.execute(lost.encode())
        await task.run_once()
        await task.run_once()
        assert len(replies) == 0
        keep_old(replies, "alice")
        assert replies.get("alice") == OLD


async def test_what_was_read_before_following_began_is_not_answered(database: Database) -> None:
    """A change in between is before the position from which the outbox is followed."""
    replies = replies_in_memory()
    with replies.followed():
        ticket = replies.begin()
        keep_old(replies, "alice")
        await append(database, 1)
        await broadcaster(database, Hub(), replies=replies).run_once()
        assert replies.get("alice") is None
        replies.keep("alice", ticket, OLD)
        assert replies.get("alice") is None


async def test_nothing_is_answered_while_more_rows_wait_than_a_page_holds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are not read yet may be about anybody."""
    monkeypatch.setattr(module, "PAGE_SIZE", 2)
    hub, replies = Hub(), replies_in_memory()
    task = broadcaster(database, hub, replies=replies)
    with replies.followed():
        await task.run_once()
        keep_old(replies, "bob")
        replies.require(5)
        reader = Reader(hub, replies)
        seen: list[CachedReply | None] = []
        monkeypatch.setattr(reader, "flush", lambda: seen.append(replies.get("bob")))
        await append(database, *range(5))
        await task.run_once()
        assert seen == [None, None, OLD]


async def test_a_lost_connection_drops_every_reply(database: Database) -> None:
    replies, lost = replies_in_memory(), trio.Event()

    async def follow() -> None:
        try:
            await broadcaster(database, Hub(), replies=replies).run()
        except* DatabaseUnavailable:
            lost.set()

    async def answered() -> bool:
        keep_old(replies, "alice")
        return replies.get("alice") == OLD

    async def listener_ended() -> bool:
        async with database.connection() as conn:
            return bool(await (await conn.execute(END_LISTENERS)).fetchall())

    async with running(follow):
        await until(answered)
        await until(listener_ended)
        with trio.fail_after(10):
            await lost.wait()
        assert (len(replies), replies.get("alice")) == (0, None)


END_LISTENERS = """
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE query LIKE 'LISTEN%' AND datname = current_database()
"""
