"""Indexer: applies the program's transactions, first the missed ones, then each as it is confirmed.

Subscriptions only wake the indexer. What it applies comes from the program's list of transactions
after the cursor, so that a lost, duplicate, late or false notification affects only the delay.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.pubsub.log_subscription import LogNotice, LogsSubscribed, watch_logs
from cvms.chain.rpc.chain_tips import read_tips
from cvms.chain.rpc.error_codes import BEHIND
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import (
    ChainUnavailable,
    CursorNotListed,
    CvmsError,
    DatabaseUnavailable,
    GapNotClosed,
    GapTooLong,
    RpcError,
    only,
)
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import IndexedBatch
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup, TvlWakeup
from cvms.nursery.indexing.apply_batch import apply_batch
from cvms.nursery.indexing.backfill import Backfill
from cvms.nursery.indexing.batch_reader import Batch, BatchReader
from cvms.nursery.indexing.event_reconstruction import EventReconstructor
from cvms.nursery.indexing.fork_rollback import ForkRollback
from cvms.nursery.indexing.signature_gap import LONGEST_GAP, list_signatures_since
from cvms.nursery.ledger.vault_fetch import FetchedVault
from cvms.store.index import cursor as cursors
from cvms.store.index import index_status
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database
from cvms.store.redis.balance_cache import BalanceCache

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 100
"""Transactions fetched in one request and applied in one database transaction."""
POLL_SECONDS = 1.0
"""Longest delay between two runs, in case notifications are lost."""
RETRY_SECONDS = 0.2
"""Delay when a node lacked a transaction that it listed, or another process moved the cursor."""
NOTICES = 256
"""Capacity of the channel of notices; when it is full, the subscription's socket waits."""


class Indexer:
    """Applies the program's transactions, each exactly once, in the order of the chain."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        ws_urls: Sequence[str],
        programs: Programs,
        progress: IndexerProgress,
        indexed: trio.MemorySendChannel[IndexedBatch],
        outbox_wake: OutboxWakeup,
        tvl_wake: TvlWakeup,
        timelock_wake: TimelockWakeup,
        cache: BalanceCache,
        board: StatusBoard,
        metrics: Metrics,
        batch_size: int = BATCH,
        poll_seconds: float = POLL_SECONDS,
        longest_gap: int = LONGEST_GAP,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._ws_urls = ws_urls
        self._program = programs.vault
        self._reader = BatchReader(rpc=rpc, programs=programs, metrics=metrics)
        self.forks = ForkRollback(
            database=database,
            rpc=rpc,
            programs=programs,
            progress=progress,
            indexed=indexed,
            outbox_wake=outbox_wake,
            tvl_wake=tvl_wake,
            cache=cache,
            metrics=metrics,
        )
        self._reconstructor = EventReconstructor(
            database=database, programs=programs, metrics=metrics
        )
        self._backfill = Backfill(
            database=database, rpc=rpc, program=programs.vault, metrics=metrics
        )
        self._longest_gap = longest_gap
        self._progress = progress
        self._indexed = indexed
        self._outbox_wake = outbox_wake
        self._tvl_wake = tvl_wake
        self._timelock_wake = timelock_wake
        self._cache = cache
        self._board = board
        self._metrics = metrics
        self._batch_size = batch_size
        self._poll_seconds = poll_seconds
        self._start_checked = False

    async def run(self) -> None:
        """Follow the chain until cancelled. After an exception it can be run again."""
        send, receive = trio.open_memory_channel[LogsSubscribed | LogNotice](NOTICES)
        async with trio.open_nursery() as nursery:
            watch = partial(
                watch_logs,
                commitment=Commitment.CONFIRMED,
                notices=send,
                newest=lambda: self._rpc.newest_slot,
            )
            nursery.start_soon(watch, self._ws_urls, self._program)
            while True:
                complete = await self._run_once()
                with trio.move_on_after(self._poll_seconds if complete else RETRY_SECONDS):
                    await receive.receive()
                _drain(receive)

    async def _run_once(self) -> bool:
        try:
            return await self.catch_up()
        except RpcError as error:
            if error.code not in BEHIND:
                await self._record_problem(error)
                raise
            log.info("node_is_behind", reason=str(error))  # if it lasts, the lag shows it
            return False
        except (ChainUnavailable, GapNotClosed) as error:
            await self._record_problem(error)
            raise

    async def _record_problem(self, error: CvmsError) -> None:
        """Store the problem for `cvms index status`, which runs in another process."""
        with suppress(DatabaseUnavailable):
            async with self._database.connection() as conn:
                await index_status.note_problem(conn, str(self._program), str(error))

    async def catch_up(self) -> bool:
        """Apply all that is confirmed now; return False if a part has to wait for another run.

        What a fork has dropped is rolled back first. Raises GapNotClosed rather than skip anything.
        """
        # Read first, since the list of transactions that follows is then complete up to it.
        through = await self._rpc.get_slot(Commitment.CONFIRMED)
        async with self._database.connection() as conn:
            cursor = await cursors.get(conn, str(self._program))
        if cursor is None:
            await self._warn_of_late_start()
        # A node that has not reached the cursor's slot cannot list what follows it.
        at_least = max(through, Slot(cursor.slot if cursor else 0))
        if await self._backfill.state() is not None:
            return await self._run_backfill(cursor, at_least)
        read = partial(
            list_signatures_since,
            self._rpc,
            self._program,
            cursor=cursor,
            at_least=at_least,
            longest=self._longest_gap,
        )
        try:
            gap = await self._read_or_roll_back(at_least, read)
        except GapTooLong:
            await self._backfill.begin(cursor)
            return await self._run_backfill(cursor, at_least)
        if gap is None:
            return False
        self._metrics.indexer_gap.set(len(gap))
        if not await self._apply_all(cursor, gap):
            return False
        async with self._database.connection() as conn:
            await cursors.reach(conn, str(self._program), through)
        self._mark_reached(through)
        return True

    async def _warn_of_late_start(self) -> None:
        """Warn if the node's blocks begin later than the chain.

        A first index begins where the node's list of transactions does. Without long-term storage
        the list may begin later than the program, and nothing in it says so.
        """
        if self._start_checked:
            return
        first_block = (await read_tips(self._rpc)).first_block
        self._start_checked = True
        if first_block != 0:
            log.warning(
                "history_may_begin_late", program=str(self._program), first_block=first_block
            )

    async def _run_backfill(self, cursor: Cursor | None, at_least: Slot) -> bool:
        """Apply the backfill and leave what is newer to the next run; return False."""
        await self._read_or_roll_back(at_least, partial(self._backfill.list_missing, cursor))
        while chunk := await self._backfill.next_chunk(cursor):
            if not await self._apply_all(cursor, chunk):
                break
            cursor = _cursor_after(str(self._program), cursor, chunk)
        return False

    async def _read_or_roll_back(self, seen: Slot, read: Callable[[], Awaitable[T]]) -> T | None:
        """Return what `read` returns; None if the cursor's block was dropped and rolled back."""
        with self._report_problem():
            try:
                return await read()
            except CursorNotListed:
                if not await self.forks.roll_back(seen=seen):
                    raise
                return None

    @contextmanager
    def _report_problem(self) -> Iterator[None]:
        """Report to the readiness probe why the gap cannot be closed, or that it can."""
        try:
            yield
        except GapTooLong:
            raise
        except GapNotClosed as error:
            self._progress.problem = str(error)
            raise
        self._progress.problem = None

    async def _apply_all(self, cursor: Cursor | None, gap: Sequence[SignatureInfo]) -> bool:
        """Apply the gap, reading one batch ahead; return False if a part of it has to wait."""
        send, receive = trio.open_memory_channel[Batch](0)
        left = len(gap)
        try:
            async with trio.open_nursery() as nursery, receive:
                nursery.start_soon(self._read_ahead, gap, send)
                async for batch in receive:
                    moved = await self._apply(cursor, batch)
                    if moved is None:
                        nursery.cancel_scope.cancel()
                        break
                    cursor, left = moved, left - len(batch.signatures)
                    self._metrics.indexer_batches.inc()
                    self._metrics.indexer_gap.dec(len(batch.signatures))
        except BaseExceptionGroup as group:
            raise only(group) from None
        return left == 0

    async def _read_ahead(
        self, gap: Sequence[SignatureInfo], send: trio.MemorySendChannel[Batch]
    ) -> None:
        """Read batch after batch, up to the first transaction that the node does not have yet."""
        async with send:
            start, known = 0, dict[Pubkey, FetchedVault]()
            while start < len(gap):
                batch = await self._reader.read(gap[start : start + self._batch_size], known)
                if not batch.signatures:
                    return
                start += len(batch.signatures)
                await send.send(batch)

    async def _apply(self, cursor: Cursor | None, batch: Batch) -> Cursor | None:
        """Apply a batch and return the new cursor; None if another process has moved the cursor."""
        if batch.truncated is not None:
            batch = await self._reconstructor.reconstruct(batch, batch.truncated)
        to = _cursor_after(str(self._program), cursor, batch.signatures)
        # Before the commit too: if this process is killed right after it, no old balance remains.
        await self._cache.forget(*(str(v.vault.owner) for v in batch.vaults if v.vault))
        indexed = await apply_batch(self._database, batch, after=cursor, to=to)
        if indexed is None:
            return None
        await self._cache.forget(*indexed.owners)
        self._outbox_wake.wake()
        self._tvl_wake.wake()
        if _holds_timelocks(batch):
            self._timelock_wake.wake()
        await self._indexed.send(indexed)
        return to

    def _mark_reached(self, slot: Slot) -> None:
        self._progress.slot = slot
        self._progress.reached_at = trio.current_time()
        self._metrics.indexer_slot.set(slot)
        self._board.task_succeeded("indexer")


def _cursor_after(program: str, before: Cursor | None, infos: Sequence[SignatureInfo]) -> Cursor:
    """Return the cursor on the last of `infos`, which holds the signature before it too."""
    applied = [before.signature] if before else []
    applied += [info.signature for info in infos]
    previous = applied[-2] if len(applied) > 1 else None
    return Cursor(program, infos[-1].slot, applied[-1], previous)


def _holds_timelocks(batch: Batch) -> bool:
    """Return whether any vault of the batch has timelocks or pending withdrawals."""
    vaults = [each.vault for each in batch.vaults if each.vault is not None]
    return any(vault.timelocks or vault.pending_withdrawals for vault in vaults)


def _drain(notices: trio.MemoryReceiveChannel[LogsSubscribed | LogNotice]) -> None:
    """Discard the queued notices: one run covers them all."""
    try:
        while True:
            notices.receive_nowait()
    except trio.WouldBlock:
        return
