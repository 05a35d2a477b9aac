"""Bring the books up to the chain: what was missed first, then each transaction as it happens.

A subscription only says when to look. What is applied always comes from the program's list of
transactions, from the cursor on, so a notification that is lost, doubled, late or false changes
nothing but the delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import structlog
import trio

from cvms.chain.answers import SignatureInfo
from cvms.chain.pubsub import LogNotice, Subscribed, watch_logs
from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import GapNotClosed, RpcError
from cvms.metrics import Metrics
from cvms.nursery.apply import apply_batch
from cvms.nursery.batch import Batch, BatchReader
from cvms.nursery.channels import Board, IndexedBatch, OutboxWake, TimelockWake, TvlWake
from cvms.nursery.gap import read_gap
from cvms.store import cursor as cursors
from cvms.store.cache import BalanceCache
from cvms.store.cursor import Cursor
from cvms.store.database import Database

log = structlog.get_logger(__name__)

BATCH = 100
"""Transactions applied in one database transaction, and fetched in one request."""
POLL_SECONDS = 1.0
"""Look at least this often, for the notifications that never come."""
RETRY_SECONDS = 0.2
"""Until the next look when a node did not have all of what it listed, or another process moved."""
NOTICES = 256
"""Notices waiting to be taken; when full, the subscription's socket waits."""

# The node that answered has not seen what another node has: -32016 and -32005 of the RPC.
NODE_BEHIND = frozenset({-32016, -32005})


class Progress:
    """How far the books are known to be complete. Written by the indexer, read by health."""

    def __init__(self) -> None:
        self.slot: Slot | None = None
        """Every confirmed transaction of the program up to here is applied."""
        self.problem: str | None = None
        """Why the gap cannot be closed, if so."""


class Indexer:
    """Applies the program's transactions, each once, in the chain's order."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: Rpc,
        ws_urls: Sequence[str],
        programs: Programs,
        progress: Progress,
        indexed: trio.MemorySendChannel[IndexedBatch],
        outbox_wake: OutboxWake,
        tvl_wake: TvlWake,
        timelock_wake: TimelockWake,
        cache: BalanceCache,
        board: Board,
        metrics: Metrics,
        batch_size: int = BATCH,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._ws_urls = ws_urls
        self._program = programs.vault
        self._reader = BatchReader(rpc=rpc, programs=programs, metrics=metrics)
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

    async def run(self) -> None:
        """Follow the chain until cancelled. Raises what a round raises; run again, it goes on."""
        send, receive = trio.open_memory_channel[Subscribed | LogNotice](NOTICES)
        async with trio.open_nursery() as nursery:
            watch = partial(
                watch_logs,
                commitment=Commitment.CONFIRMED,
                notices=send,
                newest=lambda: self._rpc.newest_slot,
            )
            nursery.start_soon(watch, self._ws_urls, self._program)
            while True:
                complete = await self._round()
                with trio.move_on_after(self._poll_seconds if complete else RETRY_SECONDS):
                    await receive.receive()
                _drain(receive)

    async def _round(self) -> bool:
        try:
            return await self.catch_up()
        except RpcError as error:
            if error.code not in NODE_BEHIND:
                raise
            log.info("node_is_behind", reason=str(error))  # the lag shows it, if it lasts
            return False

    async def catch_up(self) -> bool:
        """Apply all that is confirmed now; False when a part has to wait for another round.

        Raises GapNotClosed rather than leave anything out.
        """
        # Asked first: what the following list of transactions covers at the least.
        through = await self._rpc.get_slot(Commitment.CONFIRMED)
        async with self._database.connection() as conn:
            cursor = await cursors.get(conn, str(self._program))
        gap = await self._read_gap(cursor, through)
        for first in range(0, len(gap), self._batch_size):
            infos = gap[first : first + self._batch_size]
            moved = await self._apply(cursor, infos)
            if moved is None or moved.signature != infos[-1].signature:
                return False
            cursor = moved
        async with self._database.connection() as conn:
            await cursors.reach(conn, str(self._program), through)
        self._reached(through)
        return True

    async def _read_gap(self, cursor: Cursor | None, through: Slot) -> list[SignatureInfo]:
        try:
            gap = await read_gap(self._rpc, self._program, cursor=cursor, at_least=through)
        except GapNotClosed as error:
            self._progress.problem = str(error)
            raise
        self._progress.problem = None
        return gap

    async def _apply(self, cursor: Cursor | None, infos: Sequence[SignatureInfo]) -> Cursor | None:
        """Apply `infos`, or their first part, and return the cursor then; None if nothing moved."""
        batch = await self._reader.read(infos)
        if not batch.passed:
            return None
        to = _cursor_after(str(self._program), cursor, batch.passed)
        # Before the commit as well: killed right after it, no older balance is left behind.
        await self._cache.forget(*(str(v.vault.owner) for v in batch.vaults if v.vault))
        indexed = await apply_batch(self._database, batch, after=cursor, to=to)
        if indexed is None:
            return None
        await self._cache.forget(*indexed.owners)
        self._outbox_wake.wake()
        self._tvl_wake.wake()
        if _falls_due(batch):
            self._timelock_wake.wake()
        await self._indexed.send(indexed)
        return to

    def _reached(self, slot: Slot) -> None:
        self._progress.slot = slot
        self._metrics.indexer_slot.set(slot)
        self._board.task_succeeded("indexer")


def _cursor_after(program: str, before: Cursor | None, passed: Sequence[SignatureInfo]) -> Cursor:
    """The cursor on the last of `passed`, which remembers the one before it as well."""
    applied = [before.signature] if before else []
    applied += [info.signature for info in passed]
    previous = applied[-2] if len(applied) > 1 else None
    return Cursor(program, passed[-1].slot, applied[-1], previous)


def _falls_due(batch: Batch) -> bool:
    """Whether any of its vaults holds what waits for its time."""
    vaults = [each.vault for each in batch.vaults if each.vault is not None]
    return any(vault.timelocks or vault.pending_withdrawals for vault in vaults)


def _drain(notices: trio.MemoryReceiveChannel[Subscribed | LogNotice]) -> None:
    """Many notices are one reason to look."""
    try:
        while True:
            notices.receive_nowait()
    except trio.WouldBlock:
        return
