"""Close a gap of any length: list it into a table, newest first, and apply it from the other end.

Nodes list backwards only. The table keeps the place where the listing stands and what is left to
apply, so a restart goes on where it was. Only what is final is listed: no fork changes it.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.signature_pages import SIGNATURES_PER_CALL
from cvms.chain.types import Commitment, Slot
from cvms.errors import CursorNotListed
from cvms.metrics import Metrics
from cvms.nursery.indexing.signature_gap import check_order, describe, is_cursor
from cvms.store.index import backfill_queue
from cvms.store.index import cursor as cursors
from cvms.store.index.backfill_queue import BackfillState, Listed
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database

log = structlog.get_logger(__name__)

CHUNK = 2_000
"""Signatures taken out of the table at once."""
LOG_SECONDS = 5.0
"""Between two lines of the log that tell how far it is."""


class Backfill:
    """The final part of a long gap, in the database."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        program: Pubkey,
        metrics: Metrics,
        page_size: int = SIGNATURES_PER_CALL,
        chunk: int = CHUNK,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._program = program
        self._metrics = metrics
        self._page_size = page_size
        self._chunk = chunk
        self._begun: dict[str, tuple[float, int]] = {}
        self._logged_at: dict[str, float] = {}

    async def state(self) -> BackfillState | None:
        """The backlog, if there is one."""
        async with self._database.connection() as conn:
            return await backfill_queue.state(conn)

    async def begin(self, cursor: Cursor | None) -> None:
        """Have one from the cursor on, unless there is one already."""
        self._begun.clear()
        self._logged_at.clear()
        async with self._database.connection() as conn:
            await backfill_queue.begin(conn, cursor.signature if cursor else None)

    async def list_missing(self, cursor: Cursor | None) -> bool:
        """List what is missing, page by page, until the list reaches the cursor; True then.

        Raises CursorNotListed, and drops it all, if the node's list does not.
        """
        final = await self._rpc.get_slot(Commitment.FINALIZED)
        while (head := await self.state()) is not None and not head.complete:
            found = await self._rpc.get_signatures_for_address(
                self._program,
                commitment=Commitment.FINALIZED,
                limit=self._page_size,
                before=head.oldest,
                min_context_slot=final,
            )
            try:
                await self._add(cursor, head, found)
            except CursorNotListed:
                await self.drop()
                raise
        return True

    async def _add(
        self, cursor: Cursor | None, head: BackfillState, found: Sequence[SignatureInfo]
    ) -> None:
        check_order(found)
        rows: list[Listed] = []
        complete = False
        for info in found:
            if cursor is not None and is_cursor(info, cursor):
                complete = True
                break
            failed = info.err is not None
            rows.append(Listed(info.signature, info.slot, failed, info.block_time))
        if not complete and len(found) < self._page_size:
            if cursor is not None:
                raise CursorNotListed(f"the node's history does not reach {describe(cursor)}")
            complete = True
        async with self._database.transaction() as conn:
            await cursors.lock(conn)
            if await backfill_queue.state(conn) == head:  # else another process has added these
                await backfill_queue.add(conn, rows, complete=complete)
        self._log_progress("listing_backlog", head.listed + len(rows), None)

    async def next_chunk(self, cursor: Cursor | None) -> list[SignatureInfo]:
        """The next to be applied, oldest first; none, and no backlog, once all are.

        A backlog that does not follow the cursor is dropped: another has been this way.
        """
        async with self._database.transaction() as conn:
            await cursors.lock(conn)
            head = await backfill_queue.state(conn)
            passed = cursor is not None and await backfill_queue.drop_applied(
                conn, cursor.signature
            )
            follows = cursor.signature if cursor else None
            rows = await backfill_queue.oldest(conn, self._chunk)
            left = await backfill_queue.count(conn) if rows else 0
            if head is None or not rows or not (passed or head.follows == follows):
                await backfill_queue.drop(conn)
                rows, left = [], 0
        self._metrics.indexer_gap.set(left)
        if head is not None and rows:
            self._log_progress("catching_up", head.listed - left, head.listed)
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
        """Forget it."""
        async with self._database.transaction() as conn:
            await cursors.lock(conn)
            await backfill_queue.drop(conn)

    def _log_progress(self, event: str, done: int, total: int | None) -> None:
        """A line now and then: how many are done, how fast, and the seconds that are left."""
        now = trio.current_time()
        if now - self._logged_at.get(event, -LOG_SECONDS) < LOG_SECONDS:
            return
        self._logged_at[event] = now
        began, at_first = self._begun.setdefault(event, (now, done))
        rate = (done - at_first) / (now - began) if now > began else 0.0
        eta = round((total - done) / rate) if total is not None and rate > 0 else None
        log.info(event, done=done, total=total, rate=round(rate), eta_seconds=eta)
