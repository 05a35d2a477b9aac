"""Reads from one snapshot of the database, with the slot up to which it has everything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import trio

from cvms.errors import MinSlotNotIndexed
from cvms.store.batched_queries import PAGES, ROWS
from cvms.store.postgres.batcher import Batcher
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow

RequestT = TypeVar("RequestT")
T = TypeVar("T")

STATE = """
SELECT coalesce(max(through), 0) AS slot,
       pg_is_in_recovery() AS in_recovery,
       pg_last_xact_replay_timestamp() AS replayed_at
FROM indexer_cursor
WHERE program = %(program)s
"""


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """The slot up to which every transaction is applied, 0 before the first, and the server's role.

    `replayed_at` is when the last transaction that a standby has replayed was committed, by the
    clock of its primary.
    """

    slot: int
    in_recovery: bool
    replayed_at: datetime | None


@dataclass(slots=True)
class ReadBound:
    """The slot that a client requires an answer to be true for, and the one that it is true for."""

    min_slot: int | None = None
    slot: int | None = None

    def accept(self, slot: int) -> None:
        """Record the slot of a snapshot. Raises MinSlotNotIndexed if it is too old."""
        if self.min_slot is not None and slot < self.min_slot:
            raise MinSlotNotIndexed(
                f"Slot {self.min_slot} of X-Min-Slot is not indexed yet; the newest indexed slot "
                f"is {slot}. Try again in a moment."
            )
        self.slot = slot


@dataclass(frozen=True, slots=True)
class AsOf(Generic[T]):
    """A value, and the slot of the snapshot that it was read from."""

    slot: int
    value: T


class SnapshotSource(Protocol):
    """A server that lends connections, each in a transaction with one snapshot."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in a transaction. Raises DatabaseUnavailable."""

    def judge(self, state: SnapshotState) -> None:
        """Raise DatabaseUnavailable unless reads may be answered from this snapshot."""


class SnapshotReads:
    """Reads from snapshots of one server. Those that many clients make share a snapshot."""

    def __init__(self, source: SnapshotSource, *, program: str) -> None:
        self._source = source
        self._program = program
        self.vault_rows: Batcher[str, AsOf[VaultRow | None]] = self._batcher(
            vaults.get_many, size=ROWS
        )
        self.history_pages: Batcher[PageRequest, AsOf[list[HistoryRow]]] = self._batcher(
            history.pages, size=PAGES
        )

    async def run(self) -> None:
        """Answer what waits for a shared snapshot, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.vault_rows.run)
            nursery.start_soon(self.history_pages.run)

    async def read(self, work: Callable[[Connection], Awaitable[T]], bound: ReadBound) -> T:
        """Return the result of `work` on a snapshot that `bound` accepts.

        Raises DatabaseUnavailable, MinSlotNotIndexed, and what `work` raises.
        """
        async with self._source.connection() as conn:
            bound.accept(await self._slot(conn))
            return await work(conn)

    def _batcher(
        self,
        query: Callable[[Connection, Sequence[RequestT]], Awaitable[Sequence[T]]],
        *,
        size: int,
    ) -> Batcher[RequestT, AsOf[T]]:
        async def in_snapshot(conn: Connection, requests: Sequence[RequestT]) -> list[AsOf[T]]:
            slot = await self._slot(conn)
            return [AsOf(slot, each) for each in await query(conn, requests)]

        return Batcher(self._source, in_snapshot, size=size)

    async def _slot(self, conn: Connection) -> int:
        state = await read_state(conn, self._program)
        self._source.judge(state)
        return state.slot


async def read_state(conn: Connection, program: str) -> SnapshotState:
    """Return the state of a server, as of the snapshot if there is one."""
    return await fetch_exactly_one(conn, SnapshotState, STATE, {"program": program})
