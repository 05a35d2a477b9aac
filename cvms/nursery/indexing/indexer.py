"""Indexer: applies the program's transactions, first the missed ones, then each as it is confirmed.

Subscriptions only wake the indexer. What it applies comes from the program's list of transactions
after the cursor, so that a lost, duplicate, late or false notification affects only the delay.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.pubsub.log_subscription import LogNotice, LogsSubscribed, watch_logs
from cvms.chain.rpc.error_codes import BEHIND
from cvms.chain.rpc.evidence.chain_tips import first_block
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
from cvms.nursery.channels.reconcile_requests import Owners
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup, TvlWakeup
from cvms.nursery.indexing.apply_batch import apply_batch
from cvms.nursery.indexing.backfill import Backfill
from cvms.nursery.indexing.batch_reader import Batch, read_batch
from cvms.nursery.indexing.block_reader import BlockReader
from cvms.nursery.indexing.event_reconstruction import reconstruct
from cvms.nursery.indexing.fork_rollback import ForkRollback
from cvms.nursery.indexing.signature_gap import (
    LONGEST_GAP,
    describe,
    list_signatures_since,
)
from cvms.nursery.ledger.event_spans import record_event_spans
from cvms.nursery.ledger.vault_fetch import FetchedVault
from cvms.store.index import cursor as cursors
from cvms.store.index import index_status
from cvms.store.index.cursor import Cursor
from cvms.store.postgres.database import Database
from cvms.traces.spans import NO_TRACES, Traces

log = structlog.get_logger(__name__)

T = TypeVar("T")

BATCH = 400
"""Transactions applied in one database transaction, which costs the same for any number."""
FIRST_BATCH = 32
"""Transactions of a gap's first batch, so that the oldest do not wait for a whole slot."""
POLL_SECONDS = 1.0
"""Longest delay between two runs, in case notifications are lost."""
RETRY_SECONDS = 0.2
"""Delay when a node lacked a transaction that it listed, or another process moved the cursor."""
STUCK_ROUNDS = 3
"""Runs without progress after which the list of another endpoint is used."""
NOTICES = 1
"""Capacity of the channel of notices; when it is full, the subscription's socket waits: a slot's
hundreds of notices are not read while its transactions are applied.
"""


@dataclass(slots=True, kw_only=True, eq=False)
class Indexer:
    """Applies the program's transactions, each exactly once, in the order of the chain."""

    database: Database
    rpc: RpcClient
    ws_urls: Sequence[str]
    programs: Programs
    progress: IndexerProgress
    indexed: trio.MemorySendChannel[Owners]
    outbox_wake: OutboxWakeup
    tvl_wake: TvlWakeup
    timelock_wake: TimelockWakeup
    board: StatusBoard
    metrics: Metrics
    traces: Traces = NO_TRACES
    batch_size: int = BATCH
    poll_seconds: float = POLL_SECONDS
    longest_gap: int = LONGEST_GAP
    forks: ForkRollback = field(init=False)
    backfill: Backfill = field(init=False)
    blocks: BlockReader = field(init=False)
    _program: str = field(init=False)
    _start_checked: bool = field(default=False, init=False)
    _stuck_rounds: int = field(default=0, init=False)
    _applied: frozenset[str] = field(default=frozenset(), init=False)
    """Signatures that the last run with any has applied."""

    def __post_init__(self) -> None:
        self._program = str(self.programs.vault)
        self.forks = ForkRollback(
            database=self.database,
            rpc=self.rpc,
            programs=self.programs,
            progress=self.progress,
            indexed=self.indexed,
            outbox_wake=self.outbox_wake,
            tvl_wake=self.tvl_wake,
            metrics=self.metrics,
        )
        self.backfill = Backfill(
            database=self.database, rpc=self.rpc, program=self.programs.vault, metrics=self.metrics
        )
        self.blocks = BlockReader(self.rpc, self.programs.vault)

    async def run(self) -> None:
        """Follow the chain until cancelled. After an exception it can be run again."""
        send, receive = trio.open_memory_channel[LogsSubscribed | LogNotice](NOTICES)
        async with trio.open_nursery() as nursery:
            watch = partial(
                watch_logs,
                commitment=Commitment.CONFIRMED,
                notices=send,
                newest=lambda: self.rpc.newest_slot,
                lost=self.progress.hearing.expect,
            )
            self.progress.hearing.expect()
            nursery.start_soon(watch, self.ws_urls, self.programs.vault)
            while True:
                with self.metrics.tasks.timed("indexer"):
                    complete = await self._run_once()
                with trio.move_on_after(self.poll_seconds if complete else RETRY_SECONDS):
                    await self._wait_for_news(receive)

    async def _wait_for_news(
        self, notices: trio.MemoryReceiveChannel[LogsSubscribed | LogNotice]
    ) -> None:
        """Wait for a notice of a transaction that the last run did not apply."""
        while True:
            notice = await notices.receive()
            self.progress.hearing.heard()
            if isinstance(notice, LogsSubscribed) or notice.signature not in self._applied:
                return

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
            async with self.database.connection() as conn:
                await index_status.note_problem(conn, self._program, str(error))

    async def catch_up(self) -> bool:
        """Apply all that is confirmed now; return False if a part has to wait for another run.

        What a fork has dropped is rolled back first. Raises GapNotClosed rather than skip anything.
        """
        # Read first, since the list of transactions that follows is then complete up to it.
        through = await self.rpc.get_slot(Commitment.CONFIRMED)
        async with self.database.connection() as conn:
            cursor = await cursors.get(conn, self._program)
        if cursor is None:
            await self._warn_of_late_start()
        # A node that has not reached the cursor's slot cannot list what follows it.
        at_least = max(through, Slot(cursor.slot if cursor else 0))
        if await self.backfill.state() is not None:
            return await self._run_backfill(cursor, at_least)
        read = partial(
            list_signatures_since,
            self._lister(),
            self.programs.vault,
            cursor=cursor,
            at_least=at_least,
            longest=self.longest_gap,
        )
        try:
            gap = await self._read_or_roll_back(at_least, read)
        except GapTooLong:
            await self.backfill.begin(cursor)
            return await self._run_backfill(cursor, at_least)
        if gap is None:
            return False
        self.metrics.indexing.gap.set(len(gap))
        if not await self._apply_all(cursor, gap, to_end=True):
            await self._note_lack(cursor)
            return False
        self._stuck_rounds = 0
        self.progress.hearing.unannounced += bool(gap)
        self._applied = frozenset(info.signature for info in gap) or self._applied
        self.progress.problem = None
        async with self.database.connection() as conn:
            await cursors.reach(conn, self._program, through)
        self.progress.slot = through
        self.progress.reached_at = trio.current_time()
        self.metrics.indexing.slot.set(through)
        self.board.task_succeeded("indexer")
        return True

    async def _warn_of_late_start(self) -> None:
        """Warn if the node's blocks begin later than the chain.

        A first index begins where the node's list of transactions does. Without long-term storage
        the list may begin later than the program, and nothing in it says so.
        """
        if self._start_checked:
            return
        first = await first_block(self.rpc)
        self._start_checked = True
        if first != 0:
            log.warning("history_may_begin_late", program=self._program, first_block=first)

    async def _run_backfill(self, cursor: Cursor | None, at_least: Slot) -> bool:
        """Apply the backfill and leave what is newer to the next run; return False."""
        read = partial(self.backfill.list_missing, cursor, self._lister())
        await self._read_or_roll_back(at_least, read)
        while chunk := await self.backfill.next_chunk(cursor):
            if not await self._apply_all(cursor, chunk, to_end=False):
                await self._note_lack(cursor)
                break
            self._stuck_rounds = 0
            self.progress.problem = None
            cursor = _cursor_after(self._program, cursor, chunk)
        return False

    async def _read_or_roll_back(self, seen: Slot, read: Callable[[], Awaitable[T]]) -> T | None:
        """Return what `read` returns; None if the cursor's block was dropped and rolled back."""
        result = None
        try:
            try:
                result = await read()
            except CursorNotListed:
                if not await self.forks.roll_back(seen=seen):
                    raise
        except GapTooLong:
            raise
        except GapNotClosed as error:
            self.progress.problem = str(error)  # shown by /ready
            self._stuck_rounds += 1
            raise
        except (RpcError, ChainUnavailable):
            if self._stuck_rounds >= STUCK_ROUNDS:  # of one endpoint, which may never list
                self._stuck_rounds += 1
            raise
        return result

    def _lister(self) -> RpcClient:
        """Return the client that lists the transactions: another endpoint's after STUCK_ROUNDS.

        A list that is cut, out of order or of another fork may be the one endpoint's only.
        """
        if self._stuck_rounds < STUCK_ROUNDS:
            return self.rpc
        clients = [self.rpc, *self.rpc.each_endpoint()]
        return clients[self._stuck_rounds // STUCK_ROUNDS % len(clients)]

    async def _note_lack(self, before: Cursor | None) -> None:
        """Count a run in which a listed transaction could not be read, and show it if it lasts."""
        async with self.database.connection() as conn:
            cursor = await cursors.get(conn, self._program)
        self._stuck_rounds = self._stuck_rounds + 1 if cursor == before else 0
        if self._stuck_rounds >= STUCK_ROUNDS:
            self.progress.problem = f"no node has the next transaction after {describe(cursor)}"

    async def _apply_all(
        self, cursor: Cursor | None, gap: Sequence[SignatureInfo], *, to_end: bool
    ) -> bool:
        """Apply the gap, reading one batch ahead; return False if a part of it has to wait.

        `to_end`: see BlockReader.begin.
        """
        self.blocks.begin(gap, after=Slot(cursor.slot) if cursor else None, to_end=to_end)
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
                    self.metrics.indexing.batches.inc()
                    self.metrics.indexing.gap.dec(len(batch.signatures))
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
                size = self.batch_size if start else min(FIRST_BATCH, self.batch_size)
                page = gap[start : start + size]
                batch = await read_batch(self.rpc, self.programs, page, known, blocks=self.blocks)
                if not batch.signatures:
                    return
                start += len(batch.signatures)
                await send.send(batch)

    async def _apply(self, cursor: Cursor | None, batch: Batch) -> Cursor | None:
        """Apply a batch and return the new cursor; None if another process has moved the cursor."""
        if batch.truncated is not None:
            batch = await reconstruct(
                batch,
                batch.truncated,
                database=self.database,
                programs=self.programs,
                metrics=self.metrics,
            )
        to = _cursor_after(self._program, cursor, batch.signatures)
        started = time.time()
        owners = await apply_batch(self.database, batch, after=cursor, to=to)
        if owners is None:
            return None
        self.outbox_wake.wake()
        self.tvl_wake.wake()
        if _holds_timelocks(batch):
            self.timelock_wake.wake()
        await self.indexed.send(owners)
        events = {each.signature: each.events for each in batch.executed if each.events}
        await record_event_spans(self.traces, self.database, events, started=started)
        return to


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
