"""Rollback of what a fork has dropped, after which the database follows the surviving chain.

A fork drops all blocks from some slot on, so what was applied before that slot survives. All that
was applied later is rolled back in one database transaction, together with the cursor. Rows that
were read later are replaced by the present accounts. A transaction that lands again is applied
again as a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.evidence.absence_proof import lacks_transaction
from cvms.chain.rpc.responses import SignatureStatus
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import ChainUnavailable, GapNotClosed
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import Owners
from cvms.nursery.channels.wakeups import OutboxWakeup, TvlWakeup
from cvms.nursery.indexing.finalized_evidence import is_finalized
from cvms.nursery.ledger.outbox_messages import event_message, vault_messages
from cvms.nursery.ledger.vault_fetch import FetchedVault, fetch_vaults
from cvms.nursery.ledger.vault_rows import vault_row_at
from cvms.store.index import applied_transactions, vault_mints
from cvms.store.index import cursor as cursors
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.index.cursor import Cursor
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection import rollback, vault_writer
from cvms.store.projection.rollback import RolledBack
from cvms.store.vaults.vaults import VaultRow

log = structlog.get_logger(__name__)

SURVIVING = frozenset({Commitment.CONFIRMED, Commitment.FINALIZED})


@dataclass(frozen=True, slots=True)
class ForkPoint:
    """The applied transactions that survive, oldest first, and the first that was dropped.

    `kept` is empty if all that was ever applied is dropped.
    """

    kept: tuple[AppliedTransaction, ...]
    dropped: AppliedTransaction

    @property
    def slot(self) -> Slot:
        """The slot up to which the database survives."""
        return Slot(self.kept[-1].slot if self.kept else -1)

    @property
    def place(self) -> int:
        return self.kept[-1].place if self.kept else -1

    def cursor(self, program: str) -> Cursor | None:
        """Return the cursor after the rollback."""
        if not self.kept:
            return None
        previous = self.kept[-2].signature if len(self.kept) > 1 else None
        return Cursor(program, self.slot, self.kept[-1].signature, previous)


def find_fork(
    rows: Sequence[AppliedTransaction],
    statuses: Sequence[SignatureStatus | None],
    finalized: Collection[AppliedTransaction] = (),
) -> ForkPoint | None:
    """Return where the chain has left `rows`, which were applied in this order; None if nowhere.

    Those in `finalized` survive without a status. Raises GapNotClosed if another final one is
    unknown, since no fork drops it.
    """
    for row, status in zip(rows, statuses, strict=True):
        if row in finalized:
            continue
        if status is None or status.slot != row.slot or status.commitment not in SURVIVING:
            if row.final:
                raise GapNotClosed(f"the node does not know {row.signature}, which was final")
            return ForkPoint(tuple(each for each in rows if each.slot < row.slot), row)
    return None


@dataclass(slots=True, kw_only=True, eq=False)
class ForkRollback:
    """Finds forks and rolls back what they dropped."""

    database: Database
    rpc: RpcClient
    programs: Programs
    progress: IndexerProgress
    indexed: trio.MemorySendChannel[Owners]
    outbox_wake: OutboxWakeup
    tvl_wake: TvlWakeup
    metrics: Metrics

    async def roll_back(self, *, seen: Slot) -> bool:
        """Roll back what is in no block any more, as known to nodes that have reached `seen`.

        Return whether this or another process has rolled anything back since the call. Raises
        GapNotClosed if that cannot be known, and RpcError while a node is behind.
        """
        async with self.database.connection() as conn:
            cursor = await cursors.get(conn, str(self.programs.vault))
            rows = await applied_transactions.kept(conn)
        fork = await self._find(rows, seen)
        if fork is None:
            return False
        await self._prove(fork)
        async with self.database.connection() as conn:
            stale = await vault_writer.read_after(conn, fork.slot)
        touched = {Pubkey.from_string(row.vault): fork.dropped.signature for row in stale}
        fetched = await fetch_vaults(self.rpc, self.programs, touched, at_least=seen)
        owners = await self._commit(cursor, fork, fetched)
        if owners is None:
            return True  # another process has rolled it back
        if self.progress.slot is not None:
            self.progress.slot = min(self.progress.slot, fork.slot)
        self.outbox_wake.wake()
        self.tvl_wake.wake()
        await self.indexed.send(owners)
        return True

    async def _find(self, rows: Sequence[AppliedTransaction], seen: Slot) -> ForkPoint | None:
        at_least = max(seen, Slot(rows[-1].slot)) if rows else seen
        found = await self.rpc.statuses_everywhere(
            [row.signature for row in rows], min_context_slot=at_least
        )
        if rows and found.slot < at_least:
            raise GapNotClosed(f"not every node has reached slot {at_least}, which is indexed")
        finalized = [
            row
            for row, status in zip(rows, found.statuses, strict=True)
            if row.final and status is None and await is_finalized(self.rpc, row)
        ]
        return find_fork(rows, found.statuses, finalized)

    async def _prove(self, fork: ForkPoint) -> None:
        """Check that the block of the dropped transaction is not on the chain any more.

        That a node does not list the transaction is no proof. Raises GapNotClosed if the chain's
        block contains it, or if no node shows which blocks the chain has there.
        """
        dropped = fork.dropped
        try:
            lacks = await lacks_transaction(
                self.rpc, dropped.signature, Slot(dropped.slot), commitment=Commitment.CONFIRMED
            )
        except ChainUnavailable as error:
            raise GapNotClosed(
                f"no node shows whether a fork has dropped {dropped.signature}: {error}"
            ) from error
        if lacks is None:
            raise GapNotClosed(
                f"no node has the blocks around slot {dropped.slot}, which would show whether a "
                f"fork has dropped {dropped.signature}"
            )
        if not lacks:
            raise GapNotClosed(
                f"the block of slot {dropped.slot} contains {dropped.signature}, which a node does "
                "not list"
            )

    async def _commit(
        self, cursor: Cursor | None, fork: ForkPoint, fetched: Sequence[FetchedVault]
    ) -> Owners | None:
        """Roll back and return the owners concerned; None, with no effect, if the cursor moved."""
        program = str(self.programs.vault)
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            if await cursors.get(conn, program) != cursor:
                return None
            stale = await vault_writer.read_after(conn, fork.slot)
            if not {row.vault for row in stale} <= {str(each.address) for each in fetched}:
                return None
            rolled_back = await rollback.roll_back(conn, fork.place)
            await cursors.rewind(conn, program, fork.cursor(program))
            rows = await self._rows(conn, stale, fetched, rolled_back)
            pairs = await vault_writer.replace_after(conn, fork.slot, rows)
            messages = [
                event_message(each.line, each.data, kind="retracted") for each in rolled_back.lines
            ]
            await outbox.append(conn, messages + vault_messages(pairs))
        self._report(fork, rolled_back)
        return sorted({each.owner for each in rolled_back.lines} | rows.keys())

    async def _rows(
        self,
        conn: Connection,
        stale: Sequence[VaultRow],
        fetched: Sequence[FetchedVault],
        rolled_back: RolledBack,
    ) -> dict[str, VaultRow | None]:
        """Return each owner's new row; None for a vault that has no row without the fork."""
        accounts = {str(each.address): each for each in fetched}
        mints = await vault_mints.read(conn, [row.vault for row in stale])
        ours = {each.vault for each in mints if each.ours}
        rows: dict[str, VaultRow | None] = {}
        for row in stale:
            account, mint = accounts[row.vault], str(self.programs.mint)
            existed = row.owner not in rolled_back.new_vaults or row.vault in ours
            at = account.address, account.vault, account.slot
            rows[row.owner] = vault_row_at(*at, mint=mint, before=row if existed else None)
        return rows

    def _report(self, fork: ForkPoint, rolled_back: RolledBack) -> None:
        self.metrics.indexing.retracted_events.inc(rolled_back.events)
        log.warning(
            "fork_rolled_back",
            slot=fork.slot,
            transactions=len(rolled_back.signatures),
            events=rolled_back.events,
            first=fork.dropped.signature,
            first_slot=fork.dropped.slot,
        )
