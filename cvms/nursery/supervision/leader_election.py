"""Leader election: one replica runs the tasks that must be single; another takes over from it.

The leader renews its lease on the session that holds the lock. Its tasks run in a cancel scope
whose deadline is the end of the lease, counted from before each renewal was sent. So the tasks are
cancelled before the database lets a successor begin, even if this process was stopped or cut off.
A write that still arrives later does no harm: all that the tasks write is idempotent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg
import structlog
import trio

from cvms.errors import DatabaseUnavailable
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import Hearing, IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.messaging import leader_lease
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection

log = structlog.get_logger(__name__)

LEASE_SECONDS = 2.0
RENEWALS = 4
"""Renewals in each lease, so that one slow answer does not end the term."""
ACQUIRE_SECONDS = 0.25
"""Between attempts of a standby to get the lock."""
RELEASE_SECONDS = 0.5
LEASES_BELIEVED = 5
"""Longest wait for the lease of another, which may be of a release with longer ones, in leases."""


@dataclass(slots=True, kw_only=True, eq=False)
class LeaderElection:
    """Runs `tasks` while this replica leads."""

    database: Database
    tasks: Callable[[], Awaitable[None]]
    name: str
    progress: IndexerProgress
    board: StatusBoard
    metrics: Metrics
    lease_seconds: float = LEASE_SECONDS

    async def run(self) -> None:
        """Lead whenever no other replica does, until cancelled.

        Raises DatabaseUnavailable when the session is lost; it can be run again.
        """
        while True:
            async with self.database.dedicated(query_timeout=self.lease_seconds / 2) as session:
                await self._acquire(session)
                await self._hold(session)

    async def _acquire(self, session: Connection) -> None:
        """Wait for the lock, and then until the lease of its last holder has run out.

        That ends within a few leases, even if the database's clock has been set back.
        """
        while not await leader_lease.try_lock(session):
            await leader_lease.end_stale_session(session)
            self.board.task_succeeded("leader")
            await trio.sleep(ACQUIRE_SECONDS)
        with trio.move_on_after(self.lease_seconds * LEASES_BELIEVED):
            while (seconds := await leader_lease.remaining(session)) > 0:  # noqa: ASYNC110 - no event
                await trio.sleep(seconds)

    async def _hold(self, session: Connection) -> None:
        began = trio.current_time()
        term = await leader_lease.take(session, self.name, lease=self.lease_seconds)
        log.info("leadership_acquired", term=term, name=self.name)
        self.metrics.service.leader.set(1)
        scope = trio.CancelScope(deadline=began + self.lease_seconds)
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.tasks)
                    await self._renew(session, term, scope)
            log.warning("leadership_lost", term=term, reason="the lease has run out")
        finally:
            self.metrics.service.leader.set(0)
            self.progress.slot = self.progress.problem = None
            self.progress.hearing = Hearing()
            await self._release(session, term)

    async def _renew(self, session: Connection, term: int, scope: trio.CancelScope) -> None:
        while True:
            self.board.task_succeeded("leader")
            await trio.sleep(self.lease_seconds / RENEWALS)
            sent_at = trio.current_time()
            try:
                renewed = await leader_lease.renew(
                    session,
                    term,
                    lease=self.lease_seconds,
                    slot=self.progress.slot,
                    problem=self.progress.problem,
                )
            except psycopg.Error as error:
                # Without waiting for the lease to run out: a successor may hold the lock already.
                raise DatabaseUnavailable(f"the leader's session was lost: {error}") from error
            if not renewed:
                scope.cancel()
            scope.deadline = sent_at + self.lease_seconds

    async def _release(self, session: Connection, term: int) -> None:
        """End the term now that the tasks have ended; if that fails, a successor has to wait."""
        with trio.move_on_after(RELEASE_SECONDS, shield=True):
            try:
                await leader_lease.resign(session, term)
            except psycopg.Error as error:
                log.info("leadership_not_released", term=term, reason=str(error).strip())
