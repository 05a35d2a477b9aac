"""Take back what a fork has dropped: the books are then what the chain that won makes of them.

Blocks are dropped from some slot on, so what stands is what was applied first. Everything after it
goes in one database transaction, with the cursor; rows that were read since come from the accounts
as they are now. What has landed again is applied again, as what is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.chain_tips import read_retention
from cvms.chain.rpc.responses import SignatureStatus
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import GapNotClosed
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import IndexedBatch
from cvms.nursery.channels.wakeups import OutboxWakeup, TvlWakeup
from cvms.nursery.ledger.outbox_messages import balance_message, event_message
from cvms.nursery.ledger.vault_fetch import FetchedVault, fetch_vaults
from cvms.nursery.ledger.vault_rows import same_balances, vault_row_at
from cvms.store.index import applied_transactions, vault_mints
from cvms.store.index import cursor as cursors
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.index.cursor import Cursor
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection import rollback, vault_writer
from cvms.store.projection.rollback import RolledBack
from cvms.store.redis.balance_cache import BalanceCache
from cvms.store.vaults.vaults import VaultRow

log = structlog.get_logger(__name__)

SURVIVING = frozenset({Commitment.CONFIRMED, Commitment.FINALIZED})


@dataclass(frozen=True, slots=True)
class Fork:
    """`kept`: what is applied of the chain that won, oldest first; `dropped`: the first that is
    not. Nothing is kept if all that was ever applied is gone.
    """

    kept: tuple[AppliedTransaction, ...]
    dropped: AppliedTransaction

    @property
    def slot(self) -> Slot:
        """Up to which the books stand."""
        return Slot(self.kept[-1].slot if self.kept else -1)

    @property
    def place(self) -> int:
        return self.kept[-1].place if self.kept else -1

    def cursor(self, program: str) -> Cursor | None:
        """Where the cursor goes."""
        if not self.kept:
            return None
        previous = self.kept[-2].signature if len(self.kept) > 1 else None
        return Cursor(program, self.slot, self.kept[-1].signature, previous)


def find_fork(
    rows: Sequence[AppliedTransaction], statuses: Sequence[SignatureStatus | None]
) -> Fork | None:
    """Where the chain has left `rows`, which were applied in this order; None while all stand.

    Raises GapNotClosed when one that was final is gone: no fork drops it.
    """
    for row, status in zip(rows, statuses, strict=True):
        if not _survives(row, status):
            if row.final:
                raise GapNotClosed(f"the node does not know {row.signature}, which was final")
            return Fork(tuple(each for each in rows if each.slot < row.slot), row)
    return None


def _survives(row: AppliedTransaction, status: SignatureStatus | None) -> bool:
    return status is not None and status.slot == row.slot and status.commitment in SURVIVING


class ForkRollback:
    """Finds forks and takes back what they dropped."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        programs: Programs,
        progress: IndexerProgress,
        indexed: trio.MemorySendChannel[IndexedBatch],
        outbox_wake: OutboxWakeup,
        tvl_wake: TvlWakeup,
        cache: BalanceCache,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._program = str(programs.vault)
        self._progress = progress
        self._indexed = indexed
        self._outbox_wake = outbox_wake
        self._tvl_wake = tvl_wake
        self._cache = cache
        self._metrics = metrics

    async def roll_back(self, *, seen: Slot) -> bool:
        """Take back what is on no block any more, as nodes tell that have reached the slot `seen`.

        Returns whether the books have changed since this was called, here or by another process.
        Raises GapNotClosed if that cannot be known, and RpcError while a node is behind.
        """
        async with self._database.connection() as conn:
            cursor = await cursors.get(conn, self._program)
            rows = await applied_transactions.kept(conn)
        fork = await self._find(rows, seen)
        if fork is None:
            return False
        await self._prove(fork)
        async with self._database.connection() as conn:
            stale = await vault_writer.read_after(conn, fork.slot)
        touched = {Pubkey.from_string(row.vault): fork.dropped.signature for row in stale}
        fetched = await fetch_vaults(self._rpc, self._programs, touched, at_least=seen)
        # Before the commit as well: killed right after it, no dropped balance is left behind.
        await self._cache.forget(*(row.owner for row in stale))
        batch = await self._commit(cursor, fork, fetched)
        if batch is None:
            return True  # another process has moved it all
        await self._cache.forget(*batch.owners)
        if self._progress.slot is not None:
            self._progress.slot = min(self._progress.slot, fork.slot)
        self._outbox_wake.wake()
        self._tvl_wake.wake()
        await self._indexed.send(batch)
        return True

    async def _find(self, rows: Sequence[AppliedTransaction], seen: Slot) -> Fork | None:
        at_least = max(seen, Slot(rows[-1].slot)) if rows else seen
        answer = await self._rpc.statuses_everywhere(
            [row.signature for row in rows], min_context_slot=at_least
        )
        if rows and answer.slot < at_least:
            raise GapNotClosed(f"not every node has reached slot {at_least}, where the books are")
        return find_fork(rows, answer.statuses)

    async def _prove(self, fork: Fork) -> None:
        """A node that has thrown a block away does not know what was in it.

        Raises GapNotClosed if that may be why.
        """
        dropped = fork.dropped
        memory = await read_retention(self._rpc, dropped.signature)
        if memory.first_block is None or memory.first_block > dropped.slot:
            raise GapNotClosed(
                f"the node's ledger begins at slot {memory.first_block}, after "
                f"{dropped.signature} in slot {dropped.slot}"
            )
        if memory.status is not None and memory.status.slot == dropped.slot:
            raise GapNotClosed(f"one node knows {dropped.signature}, and another does not")

    async def _commit(
        self, cursor: Cursor | None, fork: Fork, fetched: Sequence[FetchedVault]
    ) -> IndexedBatch | None:
        """Do it all, or, when the books are not what was looked at any more, nothing: None."""
        async with self._database.transaction() as conn:
            await cursors.lock(conn)
            if await cursors.get(conn, self._program) != cursor:
                return None
            stale = await vault_writer.read_after(conn, fork.slot)
            if not {row.vault for row in stale} <= {str(each.address) for each in fetched}:
                return None
            rolled_back = await rollback.roll_back(conn, fork.place)
            await cursors.rewind(conn, self._program, fork.cursor(self._program))
            rows = await self._rows(conn, stale, fetched, rolled_back)
            pairs = await vault_writer.replace_after(conn, fork.slot, rows)
            messages = [
                event_message(each.line, each.data, kind="retracted") for each in rolled_back.lines
            ]
            messages += [
                balance_message(row, signature=None)
                for before, row in pairs
                if row is not None and not same_balances(row, before)
            ]
            position = await outbox.append(conn, messages)
        self._report(fork, rolled_back)
        owners = {each.owner for each in rolled_back.lines} | rows.keys()
        return IndexedBatch(slot=fork.slot, owners=tuple(sorted(owners)), position=position)

    async def _rows(
        self,
        conn: Connection,
        stale: Sequence[VaultRow],
        fetched: Sequence[FetchedVault],
        rolled_back: RolledBack,
    ) -> dict[str, VaultRow | None]:
        """By owner the row to be, None for a vault that was never there."""
        accounts = {str(each.address): each for each in fetched}
        mints = await vault_mints.read(conn, [row.vault for row in stale])
        ours = {each.vault for each in mints if each.ours}
        rows: dict[str, VaultRow | None] = {}
        for before in stale:
            account = accounts[before.vault]
            was_there = before.owner not in rolled_back.new_vaults or before.vault in ours
            rows[before.owner] = vault_row_at(
                account.address,
                account.vault,
                account.slot,
                mint=str(self._programs.mint),
                before=before if was_there else None,
            )
        return rows

    def _report(self, fork: Fork, rolled_back: RolledBack) -> None:
        self._metrics.retracted_events.inc(rolled_back.events)
        log.warning(
            "fork_taken_back",
            slot=fork.slot,
            transactions=len(rolled_back.signatures),
            events=rolled_back.events,
            first=fork.dropped.signature,
            first_slot=fork.dropped.slot,
        )
