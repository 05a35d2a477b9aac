"""Rates at which transactions append to the outbox, are notified, and are read by one process.

The head row is locked from the append to the end of the commit, so commits that append follow one
another, and each waits for the disk. Messages do not: a transaction appends any number of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import trio
from psycopg.types.json import Jsonb

from bench import report
from bench.growth.pgbench import transactions_per_second, with_values
from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.reply_cache import ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.delivery.broadcaster import Broadcaster
from cvms.store.messaging.outbox import APPEND, CHANNEL
from cvms.store.messaging.outbox_notifier import PostgresOutboxNotifier
from cvms.store.postgres.database import open_database

TOPIC = "deposit_event"
BATCH = 25
"""Messages of a transaction of the indexer."""
WRITERS = (1, 4, 16)
LISTENERS = (1, 2, 8)
BACKLOG = 20_000

# What an append writes without the head row, the topic's row and the notification.
PLAIN_TABLE = "CREATE TABLE plain_outbox (LIKE outbox INCLUDING ALL)"
PLAIN = """
INSERT INTO plain_outbox (position, topic, seq, slot, commitment, data)
SELECT nextval('plain_outbox_position'), 'deposit_event', nextval('plain_outbox_position'), 1,
       'confirmed', %(data)s
FROM generate_series(1, %(messages)s)
"""
PLAIN_NOTIFY = "SELECT pg_notify('outbox', currval('plain_outbox_position')::TEXT)"


def writers(url: str, seconds: float) -> Iterator[report.Row]:
    with _plain_outbox(url) as conn:
        yield from _head_row(conn, url, seconds)


def readers(url: str, seconds: float) -> Iterator[report.Row]:
    with _plain_outbox(url) as conn:
        yield from _notify(conn, url, seconds)
    yield trio.run(_broadcaster, url)


@contextmanager
def _plain_outbox(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE SEQUENCE plain_outbox_position")
        conn.execute(PLAIN_TABLE)
        yield conn


def payload() -> dict[str, Any]:
    """Return the data of an event of 300 bytes."""
    return {"pad": "x" * 150, "sent": 1_700_000_000.0}


def append(conn: psycopg.Connection[Any], messages: int) -> str:
    """Return the service's own statement with so many messages."""
    columns = {
        "topic": TOPIC,
        "owner": None,
        "slot": 1,
        "signature": None,
        "commitment": "confirmed",
        "type": "event",
    }
    values = {name: [value] * messages for name, value in columns.items()}
    data = Jsonb([payload()] * messages)
    return with_values(conn, APPEND, {**values, "data": data, "channel": CHANNEL})


def plain(conn: psycopg.Connection[Any], messages: int) -> str:
    return with_values(conn, PLAIN, {"data": Jsonb(payload()), "messages": messages})


def _head_row(conn: psycopg.Connection[Any], url: str, seconds: float) -> Iterator[report.Row]:
    for durable, messages in ((True, 1), (True, BATCH), (False, 1)):
        disk = "" if durable else ", no wait for the disk"
        for writers in WRITERS:

            def rate(statement: str, writers: int = writers, durable: bool = durable) -> float:
                return transactions_per_second(
                    url, [statement], writers=writers, seconds=seconds, durable=durable
                )

            base = rate(plain(conn, 1)) if messages == 1 else None
            name = f"outbox: {writers} writers, {messages} in a transaction{disk}"
            yield report.row(name, rate(append(conn, messages)), "transactions/s", base)


def _notify(conn: psycopg.Connection[Any], url: str, seconds: float) -> Iterator[report.Row]:
    """Many writers without the head row, so that only the notification can hold them up."""
    writers, statement = WRITERS[-1], plain(conn, 1)
    for durable in (True, False):
        disk = "" if durable else ", no wait for the disk"
        base = transactions_per_second(
            url, [statement], writers=writers, seconds=seconds, durable=durable
        )
        for listeners in LISTENERS:
            with listening(url, listeners):
                rate = transactions_per_second(
                    url,
                    [statement, PLAIN_NOTIFY],
                    writers=writers,
                    seconds=seconds,
                    durable=durable,
                )
            name = f"NOTIFY: {writers} writers, {listeners} listeners{disk}"
            yield report.row(name, rate, "transactions/s", base)


@contextmanager
def listening(url: str, count: int) -> Iterator[None]:
    """Hold connections that LISTEN, and read what they get."""
    ended = threading.Event()

    def read(conn: psycopg.Connection[Any]) -> None:
        while not ended.is_set():
            for _ in conn.notifies(timeout=0.2):
                pass

    with ExitStack() as stack:
        connections = [
            stack.enter_context(psycopg.connect(url, autocommit=True)) for _ in range(count)
        ]
        threads = []
        for each in connections:
            each.execute(f"LISTEN {CHANNEL}")
            threads.append(threading.Thread(target=read, args=(each,)))
            threads[-1].start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()


class _Client:
    """A subscriber that only counts."""

    def __init__(self) -> None:
        self.frames = 0

    def offer(self, _: object) -> None:
        self.frames += 1

    def flush(self) -> None:
        pass

    def drop_slow(self) -> None:
        raise AssertionError("the broadcaster has missed rows")


async def _broadcaster(url: str) -> report.Row:
    """Have one broadcaster read a backlog, and publish it to one client."""
    async with open_database(url) as database:
        await database.prepare()
        hub, client = Hub(), _Client()
        broadcaster = Broadcaster(
            database=database,
            hub=hub,
            replies=ReplyCache(max_bytes=0, max_age=0),
            wake=OutboxWakeup(),
            notifier=PostgresOutboxNotifier(database),
            board=StatusBoard(),
            metrics=Metrics(),
        )
        await broadcaster.run_once()
        hub.register(client)
        hub.subscribe(client, TOPIC)
        with psycopg.connect(url, autocommit=True) as conn:
            for _ in range(BACKLOG // 1000):
                conn.execute(append(conn, 1000))
            begin, cpu = time.perf_counter(), time.process_time()
            await broadcaster.run_once()
            seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    if client.frames != BACKLOG:
        raise ValueError(f"{client.frames} of {BACKLOG} rows were published")
    return report.row(
        "a broadcaster's rows", client.frames / seconds, "rows/s", client.frames / cpu
    )
