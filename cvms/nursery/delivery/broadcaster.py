"""Broadcaster: publishes every row of the outbox, in order, to the hub of this replica."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
import trio
from psycopg import IsolationLevel

from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.reply_cache import ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, Wakeup
from cvms.nursery.delivery.frame_spans import FrameSpans
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.outbox_notifier import OutboxNotifier
from cvms.store.messaging.topics import ROW_WRITTEN
from cvms.store.postgres.database import Database
from cvms.traces.spans import NO_TRACES, Traces

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.25
"""Upper bound of the delay if a notification is lost. The reply cache needs a proof every second
that there is nothing to read; that is one query of one row.
"""
PAGE_SIZE = 1000
BATCH_SIZE = 64
"""Rows published together, so that each client is written to once for all of them."""
ROWS_PER_SECOND = 6_400
"""For clients to keep up, which matters while the indexer catches up."""
BURST_ROWS = 256
"""Rows that may be published at once: as many as may be queued for a client."""


@dataclass(slots=True, eq=False)
class Pace:
    """A token bucket of ROWS_PER_SECOND and BURST_ROWS."""

    _full_at: float = field(default=-math.inf, init=False)
    _filled_at: float = field(default=math.inf, init=False)

    def begin(self, now: float) -> None:
        """Begin a backlog, after a time in which there was nothing to publish."""
        self._filled_at = now

    def pause_after(self, rows: int, now: float) -> float:
        """Take the rows out; return the seconds until there is room for another batch."""
        # A process that stood still may not make up for it: its clients' queues did not drain.
        self._full_at += max(0.0, now - self._filled_at - 2 * BATCH_SIZE / ROWS_PER_SECOND)
        self._filled_at = now
        self._full_at = max(now, self._full_at) + rows / ROWS_PER_SECOND
        room_at = self._full_at - (BURST_ROWS - BATCH_SIZE) / ROWS_PER_SECOND
        return max(0.0, room_at - now)


@dataclass(slots=True, kw_only=True, eq=False)
class Broadcaster:
    """Publishes each outbox row once, in order of position, from the hub's position on.

    Before it publishes a row, it drops the replies of this process that the row is about.

    Wake-ups and notifications only prompt a read. The tasks of this process wake the broadcaster
    after their commits, and it notifies the other replicas, as their broadcasters notify it.
    """

    database: Database
    hub: Hub
    replies: ReplyCache
    wake: OutboxWakeup
    notifier: OutboxNotifier
    board: StatusBoard
    metrics: Metrics
    traces: Traces = NO_TRACES
    poll_seconds: float = POLL_SECONDS
    _publish_wake: Wakeup = field(default_factory=Wakeup, init=False)
    _pace: Pace = field(default_factory=Pace, init=False)
    _spans: FrameSpans = field(init=False)

    def __post_init__(self) -> None:
        self._spans = FrameSpans(traces=self.traces, database=self.database, hub=self.hub)

    async def run(self) -> None:
        """Publish until cancelled. Raises DatabaseUnavailable; another run then misses nothing."""
        with self.replies.followed():
            await self._run()

    async def _run(self) -> None:
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self.notifier.listen, self._publish_wake.wake)
            tasks.start_soon(self._notify_replicas)
            while True:
                await self.run_once()
                self.board.task_succeeded("broadcaster")
                await self._publish_wake.wait(self.poll_seconds)

    async def _notify_replicas(self) -> None:
        """Notify all replicas, this one included, of what tasks of this process have written."""
        while True:
            if await self.wake.wait(math.inf):
                self._publish_wake.wake()
                await self.notifier.notify()

    async def run_once(self) -> None:
        """Publish all rows after the hub's position. A hub without one starts at the head."""
        self._pace.begin(trio.current_time())
        while True:
            asked_at = trio.current_time()
            if (position := await self._head()) == self.hub.position:
                self.replies.prove(position, asked_at)
                self.metrics.outbox.lag_seconds.set(0)
                return
            asked_at = trio.current_time()
            rows, head = await self._read(self.hub.position)
            if not rows:
                self._set_position(head)
                self.replies.prove(head, asked_at)
                return
            self._drop_replies(rows)
            if rows[-1].position == head:
                self.replies.prove(head, asked_at)
            for batch in _batches(rows):
                self._set_position(batch[0].position - 1)
                self.metrics.outbox.lag_seconds.set(_age(batch[0]))
                self._spans.note(batch)
                self.hub.publish(batch)
                self.metrics.outbox.published.inc(len(batch))
                await trio.sleep(self._pace.pause_after(len(batch), trio.current_time()))
            await self._spans.record()

    def _drop_replies(self, rows: Sequence[OutboxRow]) -> None:
        owners = {row.owner for row in rows if row.owner is not None}
        rows_are_missing = rows[-1].position - (self.hub.position or 0) != len(rows)
        if rows_are_missing or any(row.topic == ROW_WRITTEN and not row.owner for row in rows):
            self.replies.clear()
        else:
            self.replies.forget(*owners)

    async def _head(self) -> int:
        async with self.database.connection() as conn:
            return await outbox.head(conn)

    async def _read(self, position: int | None) -> tuple[list[OutboxRow], int]:
        # One snapshot, so that the head and the rows belong together.
        async with self.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            head = await outbox.head(conn)
            start = head if position is None else position
            return await outbox.after(conn, start, PAGE_SIZE), head

    def _set_position(self, position: int) -> None:
        """Set the hub's position. If that is a jump, reset the hub: its subscribers start over."""
        if self.hub.position == position:
            return
        if self.hub.position is not None:
            # The rows were pruned before they were published, or the database was restored.
            log.error("outbox_rows_missed", after=self.hub.position, until=position)
        # Whoever has read up to an earlier position, subscribers and replies, would miss the rest.
        self.replies.clear()
        self.hub.reset(position)


def _age(row: OutboxRow) -> float:
    """Return the seconds since the row was written, by the clocks of both hosts."""
    return max(0.0, (datetime.now(UTC) - row.created_at).total_seconds())


def _batches(rows: Sequence[OutboxRow]) -> Iterator[Sequence[OutboxRow]]:
    """Split rows into batches of at most BATCH_SIZE, each without a jump in position."""
    first = 0
    for last in range(1, len(rows) + 1):
        whole = last - first == BATCH_SIZE or last == len(rows)
        if whole or rows[last].position != rows[last - 1].position + 1:
            yield rows[first:last]
            first = last
