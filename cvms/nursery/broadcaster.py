"""Read the outbox as it grows and hand every row, in its order, to the hub of this replica."""

from __future__ import annotations

import structlog
import trio
from psycopg import IsolationLevel

from cvms.nursery.channels import SUBSCRIBER_QUEUE, Board, Hub, OutboxWake
from cvms.store import outbox
from cvms.store.database import Database
from cvms.store.listen import Listener, listen
from cvms.store.outbox import OutboxRow

log = structlog.get_logger(__name__)

LOOK_SECONDS = 5.0
"""Look at least this often, should a notification ever be lost."""
PAGE = 1000
PORTION = SUBSCRIBER_QUEUE // 2
"""Rows published at once: more would fill the queue of a client that takes them as fast as it can,
after the indexer has caught up with much."""
PORTION_SECONDS = 0.02
"""For clients to take a portion: 6,400 rows a second at the most."""


class Broadcaster:
    """Publishes each outbox row once and in order of position, from where the hub stands.

    A wake is only a reason to look: our own tasks give one after their commits, and PostgreSQL
    notifies of every commit, other replicas' included.
    """

    def __init__(
        self,
        *,
        database: Database,
        hub: Hub,
        wake: OutboxWake,
        board: Board,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._database = database
        self._hub = hub
        self._wake = wake
        self._board = board
        self._look_seconds = look_seconds

    async def run(self) -> None:
        """Publish until cancelled. Raises DatabaseUnavailable; run again, it misses nothing."""
        async with listen(self._database, outbox.CHANNEL) as listener, trio.open_nursery() as tasks:
            tasks.start_soon(self._hear, listener)
            while True:
                await self.publish()
                self._board.task_succeeded("broadcaster")
                await self._wake.wait(self._look_seconds)

    async def _hear(self, listener: Listener) -> None:
        while True:
            await listener.receive()
            self._wake.wake()

    async def publish(self) -> None:
        """Publish all that follows the hub's position; a hub without one starts at the head."""
        while True:
            rows, head = await self._read(self._hub.position)
            if not rows:
                self._go_to(head)
                return
            for number, row in enumerate(rows, start=1):
                self._go_to(row.position - 1)
                self._hub.publish(row)
                if number % PORTION == 0:
                    await trio.sleep(PORTION_SECONDS)

    async def _read(self, position: int | None) -> tuple[list[OutboxRow], int]:
        # One snapshot: a row is below the head read with it or it is not there yet.
        async with self._database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            head = await outbox.head(conn)
            start = head if position is None else position
            return await outbox.after(conn, start, PAGE), head

    def _go_to(self, position: int) -> None:
        """Have the hub stand at `position`; whoever listens starts over if that is a jump."""
        if self._hub.position is None:
            self._hub.position = position
        elif self._hub.position != position:
            # Pruned before they were published, or the database is another one, restored.
            log.error("outbox_rows_missed", after=self._hub.position, until=position)
            self._hub.reset(position)
