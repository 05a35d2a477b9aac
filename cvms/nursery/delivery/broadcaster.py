"""Read the outbox as it grows and hand every row, in its order, to the hub of this replica."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog
import trio
from psycopg import IsolationLevel

from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, Wakeup
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.outbox_notifier import OutboxNotifier
from cvms.store.postgres.database import Database

log = structlog.get_logger(__name__)

POLL_SECONDS = 5.0
"""Look at least this often, should a notification ever be lost."""
PAGE_SIZE = 1000
BATCH_SIZE = 64
"""Rows handed on at once, so that each client is written to once for them all."""
BATCH_PAUSE_SECONDS = 0.01
"""For clients to take a full run before the next: 6,400 rows a second at the most, which matters
after the indexer has caught up with much.
"""


class Broadcaster:
    """Publishes each outbox row once and in order of position, from where the hub stands.

    A wake is only a reason to look. Our own tasks give one after their commits, and we ring the
    bell for the other replicas; they ring it for us.
    """

    def __init__(
        self,
        *,
        database: Database,
        hub: Hub,
        wake: OutboxWakeup,
        notifier: OutboxNotifier,
        board: StatusBoard,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._hub = hub
        self._wake = wake
        self._notifier = notifier
        self._publish_wake = Wakeup()
        self._board = board
        self._poll_seconds = poll_seconds

    async def run(self) -> None:
        """Publish until cancelled. Raises DatabaseUnavailable; run again, it misses nothing."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._notifier.listen, self._publish_wake.wake)
            tasks.start_soon(self._notify_replicas)
            while True:
                await self.run_once()
                self._board.task_succeeded("broadcaster")
                await self._publish_wake.wait(self._poll_seconds)

    async def _notify_replicas(self) -> None:
        """What a task of this replica has written, all are to hear of."""
        while True:
            if await self._wake.wait(self._poll_seconds):
                self._publish_wake.wake()
                await self._notifier.notify()

    async def run_once(self) -> None:
        """Publish all that follows the hub's position; a hub without one starts at the head."""
        while True:
            rows, head = await self._read(self._hub.position)
            if not rows:
                self._set_position(head)
                return
            for run in _batches(rows):
                self._set_position(run[0].position - 1)
                self._hub.publish(run)
                await trio.sleep(BATCH_PAUSE_SECONDS if len(run) == BATCH_SIZE else 0)

    async def _read(self, position: int | None) -> tuple[list[OutboxRow], int]:
        # One snapshot: a row is below the head read with it or it is not there yet.
        async with self._database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            head = await outbox.head(conn)
            start = head if position is None else position
            return await outbox.after(conn, start, PAGE_SIZE), head

    def _set_position(self, position: int) -> None:
        """Have the hub stand at `position`; whoever listens starts over if that is a jump."""
        if self._hub.position is None:
            self._hub.position = position
        elif self._hub.position != position:
            # Pruned before they were published, or the database is another one, restored.
            log.error("outbox_rows_missed", after=self._hub.position, until=position)
            self._hub.reset(position)


def _batches(rows: Sequence[OutboxRow]) -> Iterator[Sequence[OutboxRow]]:
    """The rows in pieces of at most RUN, without a jump in position inside one."""
    first = 0
    for last in range(1, len(rows) + 1):
        whole = last - first == BATCH_SIZE or last == len(rows)
        if whole or rows[last].position != rows[last - 1].position + 1:
            yield rows[first:last]
            first = last
