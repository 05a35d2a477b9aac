"""Backfill of a long gap: lists it into a table, newest first, and applies it oldest first.

Nodes list backwards only. The table holds the position of the listing and the transactions left to
apply, so that a restart resumes there. Only finalized transactions are listed, which no fork drops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.call_params import SIGNATURES_PER_CALL
from cvms.chain.rpc.evidence.signature_pages import check_order
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.errors import CursorNotListed, GapNotClosed
from cvms.metrics import Metrics
from cvms.nursery.indexing.signature_gap import describe, split_at_cursor
from cvms.store.index import backfill_queue
from cvms.store.index import cursor as cursors
from cvms.store.index.backfill_queue import BackfillState, Listed
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection

log = structlog.get_logger(__name__)

CHUNK = 8_000
"""Signatures read from the table at once, about 2 MB; nothing is read ahead beyond them."""
LOG_SECONDS = 5.0
"""Between two log events about the progress."""


@dataclass(slots=True, kw_only=True, eq=False)
class Backfill:
    """The finalized part of a long gap, in the database."""

    database: Database
    rpc: RpcClient
    program: Pubkey
    metrics: Metrics
    page_size: int = SIGNATURES_PER_CALL
    chunk: int = CHUNK
    _started: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)
    _logged_at: dict[str, float] = field(default_factory=dict, init=False)

    async def state(self) -> BackfillState | None:
        """Return the state of the backfill; None if there is none."""
        async with self.database.connection() as conn:
            return await backfill_queue.state(conn)

    async def begin(self, cursor: Cursor | None) -> None:
        """Start a backfill from the cursor, unless there is one already."""
        self._started.clear()
        self._logged_at.clear()
        async with self.database.connection() as conn:
            await backfill_queue.begin(conn, cursor.signature if cursor else None)

    async def list_missing(self, cursor: Cursor | None, lister: RpcClient) -> bool:
        """List the missing transactions, page by page, until the list reaches the cursor.

        `lister` is the client that lists them. Return True. Raises CursorNotListed, and drops the
        backfill, if the list does not reach it.
        """
        final = await self.rpc.get_slot(Commitment.FINALIZED)
        while (state := await self.state()) is not None and not state.complete:
            page = await lister.get_signatures_for_address(
                self.program,
                commitment=Commitment.FINALIZED,
                limit=self.page_size,
                before=state.oldest,
                min_context_slot=final,
            )
            try:
                await self._add(cursor, state, page)
            except CursorNotListed:
                await self.drop()
                raise
        return True

    async def _add(
        self, cursor: Cursor | None, state: BackfillState, page: Sequence[SignatureInfo]
    ) -> None:
        check_order(page)
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            if await backfill_queue.state(conn) != state:
                return  # another process has added them
            await self._check_follows(conn, state, page)
            after, complete = split_at_cursor(page, cursor)
            if not page and cursor is not None:
                raise CursorNotListed(f"the node's history does not reach {describe(cursor)}")
            rows = [
                Listed(info.signature, info.slot, info.err is not None, info.block_time)
                for info in after
            ]
            await backfill_queue.add(conn, rows, complete=complete or not page)
        self._log_progress("backfill_listed", state.listed + len(rows), None)

    async def _check_follows(
        self, conn: Connection, state: BackfillState, page: Sequence[SignatureInfo]
    ) -> None:
        """Check that the page goes on from the list. Raises GapNotClosed.

        A node that does not know where the list ended may begin again with the newest, and one
        whose pages repeat would be listed for ever.
        """
        if state.oldest is None or not page:
            return
        [oldest] = await backfill_queue.oldest(conn, 1)
        again = await backfill_queue.listed_among(conn, [info.signature for info in page])
        if page[0].slot > oldest.slot or again is not None:
            raise GapNotClosed(f"the node does not go on from {oldest.signature}")

    async def next_chunk(self, cursor: Cursor | None) -> list[SignatureInfo]:
        """Return the next transactions to apply, oldest first; none once all are applied.

        The backfill is dropped then, and also if it does not follow the cursor, which another
        process has moved.
        """
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            state = await backfill_queue.state(conn)
            found = cursor is not None and await backfill_queue.drop_applied(conn, cursor.signature)
            follows = cursor.signature if cursor else None
            rows = await backfill_queue.oldest(conn, self.chunk)
            left = await backfill_queue.count(conn) if rows else 0
            if state is None or not rows or not (found or state.follows == follows):
                await backfill_queue.drop(conn)
                rows, left = [], 0
        self.metrics.indexing.gap.set(left)
        if state is not None and rows:
            self._log_progress("backfill_applied", state.listed - left, state.listed)
        return [
            SignatureInfo(
                each.signature,
                Slot(each.slot),
                "failed" if each.failed else None,
                each.block_time,
                Commitment.FINALIZED,
            )
            for each in rows
        ]

    async def drop(self) -> None:
        """Drop the backfill."""
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            await backfill_queue.drop(conn)

    def _log_progress(self, event: str, done: int, total: int | None) -> None:
        """Log the count, the rate per second and the seconds left, at most every LOG_SECONDS."""
        now = trio.current_time()
        if now - self._logged_at.get(event, -LOG_SECONDS) < LOG_SECONDS:
            return
        self._logged_at[event] = now
        started, at_first = self._started.setdefault(event, (now, done))
        rate = (done - at_first) / (now - started) if now > started else 0.0
        eta = round((total - done) / rate) if total is not None and rate > 0 else None
        log.info(event, done=done, total=total, rate=round(rate), eta_seconds=eta)
