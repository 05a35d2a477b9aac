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
from cvms.store.postgres.batcher import MAX_QUERIES, Batcher
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import columns, fetch_exactly_one
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow

T = TypeVar("T")

STATE = """
SELECT coalesce(max(through), 0) AS slot,
       pg_is_in_recovery() AS in_recovery,
       pg_last_xact_replay_timestamp() AS replayed_at
FROM indexer_cursor
WHERE program = %(program)s
"""


# A vault's row and the state in one statement, which has one snapshot: without a transaction, a
# balance takes a quarter of the time.
_WITH_STATE = """
SELECT state.slot, state.in_recovery, state.replayed_at, row.*
FROM ({state}) AS state
LEFT JOIN ({rows}) AS row ON TRUE
"""
VAULT_ROW = _WITH_STATE.replace("{state}", STATE).replace("{rows}", vaults.GET)
VAULT_ROWS = _WITH_STATE.replace("{state}", STATE).replace("{rows}", vaults.GET_MANY)
VAULT_COLUMNS = columns(VaultRow)
STATE_COLUMNS = 3


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
    """A server that lends connections, and judges what may be read from it."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in autocommit mode. Raises DatabaseUnavailable."""

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in a transaction with one snapshot. Raises DatabaseUnavailable."""

    def judge(self, state: SnapshotState) -> None:
        """Raise DatabaseUnavailable unless reads may be answered from this snapshot."""


class SnapshotReads:
    """Reads from snapshots of one server. Those that many clients make share a snapshot."""

    def __init__(self, source: SnapshotSource, *, program: str) -> None:
        self._source = source
        self._program = program
        self.vault_rows: Batcher[str, AsOf[VaultRow | None]] = Batcher(
            source, self._vault_rows, size=ROWS
        )
        self.history_pages: Batcher[PageRequest, AsOf[list[HistoryRow]]] = Batcher(
            _Transactions(source), self._history_pages, size=PAGES
        )

    def start(self, tasks: trio.Nursery) -> None:
        """Answer what waits for a shared snapshot until these tasks end."""
        for run in (self.vault_rows.run, self.history_pages.run):
            for _ in range(MAX_QUERIES):
                tasks.start_soon(run)

    async def read(self, work: Callable[[Connection], Awaitable[T]], bound: ReadBound) -> T:
        """Return the result of `work` on a snapshot that `bound` accepts.

        Raises DatabaseUnavailable, MinSlotNotIndexed, and what `work` raises.
        """
        async with self._source.transaction() as conn:
            bound.accept(await self._slot(conn))
            return await work(conn)

    async def _vault_rows(
        self, conn: Connection, owners: Sequence[str]
    ) -> list[AsOf[VaultRow | None]]:
        params = {"program": self._program, "owner": owners[0], "owners": list(owners)}
        query = VAULT_ROW if len(owners) == 1 else VAULT_ROWS
        rows = await (await conn.execute(query, params)).fetchall()
        state = SnapshotState(*rows[0][:STATE_COLUMNS])
        self._source.judge(state)
        found = {}
        for row in rows:
            values = dict(zip(VAULT_COLUMNS, row[STATE_COLUMNS:], strict=True))
            if values["owner"] is not None:
                found[values["owner"]] = VaultRow(**values)
        return [AsOf(state.slot, found.get(owner)) for owner in owners]

    async def _history_pages(
        self, conn: Connection, requests: Sequence[PageRequest]
    ) -> list[AsOf[list[HistoryRow]]]:
        slot = await self._slot(conn)
        return [AsOf(slot, page) for page in await history.pages(conn, requests)]

    async def _slot(self, conn: Connection) -> int:
        state = await read_state(conn, self._program)
        self._source.judge(state)
        return state.slot


@dataclass(frozen=True, slots=True)
class _Transactions:
    """Lends the connections of a server in transactions."""

    source: SnapshotSource

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        return self.source.transaction()


async def read_state(conn: Connection, program: str) -> SnapshotState:
    """Return the state of a server, as of the snapshot if there is one."""
    return await fetch_exactly_one(conn, SnapshotState, STATE, {"program": program})
