"""Every reader of the outbox sees the same messages in the same order, without gaps."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
import trio

from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.postgres.listen import listen
from tests.store.examples import message

WRITERS = 20


async def test_positions_are_contiguous_and_seqs_count_within_each_topic(
    database: Database,
) -> None:
    topics = ["a", "b", "a", "a", "b", "c"]
    async with database.connection() as conn:
        assert await outbox.head(conn) == 0
        assert await outbox.append(conn, [message(topic=topic) for topic in topics]) == 6
        assert await outbox.append(conn, [message(topic="b")]) == 7
        assert await outbox.append(conn, []) == 7
        rows = await outbox.after(conn, 0)
        assert [(row.position, row.topic, row.seq) for row in rows] == [
            (1, "a", 1),
            (2, "b", 1),
            (3, "a", 2),
            (4, "a", 3),
            (5, "b", 2),
            (6, "c", 1),
            (7, "b", 3),
        ]
        assert [await outbox.topic_head(conn, topic) for topic in "abcd"] == [3, 3, 1, 0]
        assert [row.position for row in await outbox.after(conn, 5)] == [6, 7]
        assert [row.position for row in await outbox.after(conn, 2, limit=2)] == [3, 4]


async def test_a_message_is_read_as_it_was_appended(database: Database) -> None:
    bare = message(owner=None, signature=None, data={"total": 2**63, "text": "π\n"})
    async with database.connection() as conn:
        await outbox.append(conn, [message(), bare])
        rows = await outbox.after(conn, 0)
    for row, given in zip(rows, [message(), bare], strict=True):
        assert (row.owner, row.slot, row.signature) == (given.owner, given.slot, given.signature)
        assert (row.commitment, row.data) == (given.commitment, given.data)


async def write(database: Database, number: int) -> int:
    """Append in several transactions, some of them cancelled; return the number of messages."""
    dice = random.Random(number)
    written = 0
    for _ in range(8):
        topics = dice.choices("abc", k=dice.randrange(1, 4))
        with trio.CancelScope() as scope:
            async with database.transaction() as conn:
                await outbox.append(conn, [message(topic=topic) for topic in topics])
                if dice.random() < 0.3:
                    scope.cancel()
        written += 0 if scope.cancelled_caught else len(topics)
    return written


async def test_a_reader_with_twenty_concurrent_writers_misses_and_repeats_nothing(
    database: Database,
) -> None:
    written = 0
    done = trio.Event()
    seen: list[outbox.OutboxRow] = []

    async def writer(number: int) -> None:
        nonlocal written
        of_mine = await write(database, number)
        written += of_mine

    async def reader() -> None:
        position = 0
        async with database.dedicated() as conn:
            while True:
                finished = done.is_set()
                rows = await outbox.after(conn, position, limit=7)
                seen.extend(rows)
                position = rows[-1].position if rows else position
                if finished and not rows:
                    return

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader)
            async with trio.open_nursery() as writers:
                for number in range(WRITERS):
                    writers.start_soon(writer, number)
            done.set()
    assert written > WRITERS
    assert [row.position for row in seen] == list(range(1, written + 1))
    for topic in "abc":
        seqs = [row.seq for row in seen if row.topic == topic]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_a_rollback_leaves_no_gap(database: Database) -> None:
    async with database.connection() as conn:
        await outbox.append(conn, [message()])
    with pytest.raises(RuntimeError, match="undone"):
        await append_and_fail(database)
    async with database.connection() as conn:
        await outbox.append(conn, [message()])
        rows = await outbox.after(conn, 0)
    assert [(row.position, row.seq) for row in rows] == [(1, 1), (2, 2)]


async def append_and_fail(database: Database) -> None:
    async with database.transaction() as conn:
        await outbox.append(conn, [message(), message(topic="other")])
        raise RuntimeError("undone")


async def test_listeners_receive_the_position_once_it_can_be_read(database: Database) -> None:
    async with listen(database, outbox.CHANNEL) as listener:
        async with database.transaction() as conn:
            await outbox.append(conn, [message(), message()])
            with trio.move_on_after(0.05) as early:
                await listener.receive()
        assert early.cancelled_caught
        with trio.fail_after(5):
            assert (await listener.receive()).payload == "2"
        async with database.connection() as conn:
            assert len(await outbox.after(conn, 0)) == 2


async def test_a_topic_is_replayed_from_a_seq(database: Database) -> None:
    async with database.connection() as conn:
        await outbox.append(conn, [message(topic=topic) for topic in "abababab"])
        rows = await outbox.topic_after(conn, "b", 1, limit=2)
    assert [(row.topic, row.seq, row.position) for row in rows] == [("b", 2, 4), ("b", 3, 6)]


async def test_pruning_keeps_the_count(database: Database) -> None:
    async with database.connection() as conn:
        await outbox.append(conn, [message(), message()])
        await conn.execute("UPDATE outbox SET created_at = now() - INTERVAL '2 hours'")
        await outbox.append(conn, [message()])
        assert await outbox.prune(conn, timedelta(hours=1)) == 2
        assert [row.seq for row in await outbox.topic_after(conn, "deposit_event", 0)] == [3]
        assert await outbox.append(conn, [message()]) == 4
        assert await outbox.topic_head(conn, "deposit_event") == 4
