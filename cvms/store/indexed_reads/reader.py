"""Chooses for each read the server that answers it: a replica that is new enough, or the primary.

Only what is indexed is read here. What decides about money is read from the primary.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog
import trio

from cvms.errors import DatabaseUnavailable, SlotNotIndexed
from cvms.metrics import Metrics
from cvms.store.indexed_reads.batched_queries import BatchedQueries
from cvms.store.indexed_reads.primary import Primary
from cvms.store.indexed_reads.replica import CHECK_SECONDS, Replica
from cvms.store.indexed_reads.snapshot import ReadBound, SnapshotReads
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]

log = structlog.get_logger(__name__)


class Reader:
    """Reads of what is indexed.

    Without replicas, and for clients that ask for no slot, it makes the queries and nothing else.
    Otherwise each answer comes from one snapshot whose slot is known, and which is not older than
    the client asks for. A replica that fails, or is too old, costs time; the primary then answers.
    """

    def __init__(
        self,
        database: Database,
        queries: BatchedQueries,
        *,
        primary: Primary,
        replicas: Sequence[Replica],
        program: str,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._queries = queries
        self._primary = primary
        self._on_primary = SnapshotReads(primary, program=program)
        self._next = 0
        self._metrics = metrics
        self.replicas = replicas

    @property
    def summary(self) -> str:
        """The states of the replicas, each behind a semicolon; empty if there are none."""
        return "".join(
            f"; read replica {each.number} ({each.name}): {each.detail}" for each in self.replicas
        )

    async def read(self, work: Work[T], bound: ReadBound, *, one_snapshot: bool = False) -> T:
        """Return the result of `work`, which may run a second time on another server.

        With `one_snapshot`, all its queries see the same state of the database in any case.
        Raises DatabaseUnavailable, MinSlotNotIndexed, and what `work` raises.
        """
        if self._plain(bound) and not one_snapshot:
            async with self._database.connection() as conn:
                return await work(conn)
        return await self._first(bound, lambda reads: reads.read(work, bound))

    async def vault_row(
        self, owner: str, bound: ReadBound, *, from_primary: bool = False
    ) -> VaultRow | None:
        """Return the row of the owner's vault. Raises as `read` does.

        A row for a cache has to come `from_primary`, or it would get older than it may be.
        """
        if self._plain(bound):
            return await self._queries.vault_rows.ask(owner)

        async def ask(reads: SnapshotReads) -> VaultRow | None:
            found = await reads.vault_rows.ask(owner)
            row, slot = found.value, found.slot
            if row is not None and slot < (bound.min_slot or 0) <= row.slot:
                slot = bound.min_slot or 0  # the account was read before all of its slot is indexed
            bound.accept(slot)
            return row

        return await (ask(self._on_primary) if from_primary else self._first(bound, ask))

    async def history_page(self, page: PageRequest, bound: ReadBound) -> list[HistoryRow]:
        """Return a page of a history. Raises as `read` does."""
        if self._plain(bound):
            return await self._queries.history_pages.ask(page)

        async def ask(reads: SnapshotReads) -> list[HistoryRow]:
            found = await reads.history_pages.ask(page)
            bound.accept(found.slot)
            return found.value

        return await self._first(bound, ask)

    async def check(self) -> None:
        """Find out which replicas reads may go to. Takes twice CHECK_SECONDS at most."""
        before = self._primary.identity
        with trio.move_on_after(CHECK_SECONDS):
            try:
                await self._primary.check()
            except DatabaseUnavailable as error:
                log.debug("primary_not_compared", reason=str(error))
        if self._primary.identity != before:
            for replica in self.replicas:
                replica.discard()
        async with trio.open_nursery() as nursery:
            for replica in self.replicas:
                nursery.start_soon(self._check, replica)

    def start(self, tasks: trio.Nursery) -> None:
        """Answer what waits for a shared snapshot until these tasks end."""
        for reads in (self._on_primary, *(replica.reads for replica in self.replicas)):
            reads.start(tasks)

    async def _check(self, replica: Replica) -> None:
        await replica.check()
        label = str(replica.number)
        self._metrics.replicas.up.labels(replica=label).set(replica.trouble is None)
        self._metrics.replicas.slot.labels(replica=label).set(replica.slot)
        if replica.lag is not None:
            self._metrics.replicas.lag.labels(replica=label).set(replica.lag)

    def _plain(self, bound: ReadBound) -> bool:
        return bound.min_slot is None and not self.replicas

    async def _first(self, bound: ReadBound, ask: Callable[[SnapshotReads], Awaitable[T]]) -> T:
        replica = self._choose(bound.min_slot or 0)
        if replica is not None:
            try:
                value = await ask(replica.reads)
            except (DatabaseUnavailable, SlotNotIndexed) as error:
                bound.slot = None
                log.debug("replica_not_read", replica=replica.number, reason=str(error))
            else:
                self._metrics.replicas.reads.labels(server=str(replica.number)).inc()
                return value
        self._metrics.replicas.reads.labels(server="primary").inc()
        return await ask(self._on_primary)

    def _choose(self, min_slot: int) -> Replica | None:
        """Return the next replica, in turn, that is known to have the slot."""
        for _ in self.replicas:
            self._next = (self._next + 1) % len(self.replicas)
            replica = self.replicas[self._next]
            if replica.trouble is None and replica.slot >= min_slot:
                return replica
        return None


def start_reader(
    database: Database,
    queries: BatchedQueries,
    tasks: trio.Nursery,
    *,
    urls: Sequence[str] = (),
    max_lag: float = 10.0,
    program: str,
    metrics: Metrics,
) -> Reader:
    """Return the reader, with a replica for each URL, to which it connects when it checks them.

    The connections are closed when the tasks that are started here end.
    """
    primary = Primary(database)
    replicas = [
        Replica(number, url, primary=primary, program=program, max_lag=max_lag)
        for number, url in enumerate(urls, start=1)
    ]
    reader = Reader(
        database, queries, primary=primary, replicas=replicas, program=program, metrics=metrics
    )
    reader.start(tasks)
    for replica in replicas:
        tasks.start_soon(replica.close_at_end)
    return reader
