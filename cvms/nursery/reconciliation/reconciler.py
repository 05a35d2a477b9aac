"""Hold the books against the chain: each vault that moved, and all of them again and again.

A row that lags is no difference: the chain is read first, and what does not match waits until the
indexer has passed the slot of that reading and the slot is final. Only then is it judged, logged
and set right, from what is final. The pass over all vaults goes page by page, its place is in the
database, and what moves is looked at between two pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog
import trio
from psycopg import IsolationLevel

from cvms.chain.rpc.error_codes import BEHIND
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import HistoryNotIndexed, RpcError
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.reconciliation.aggregate_check import AggregateCheck
from cvms.nursery.reconciliation.comparison import Difference, ExpectedState, differences
from cvms.nursery.reconciliation.healer import Healer, row_matches_history
from cvms.nursery.reconciliation.vault_readings import VaultReading, expected_states, read_vaults
from cvms.nursery.reconciliation.vault_reindexer import Reindexer
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import pass_position, vault_ledger
from cvms.store.reconciliation.vault_ledger import VaultLedger
from cvms.store.redis.balance_cache import BalanceCache
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

VAULTS_PER_CALL = 50
"""A vault is two accounts, and a call gives 100 of one slot."""
PAGE_GAP_SECONDS = 0.05
"""At most 20 calls a second: 100,000 vaults take two minutes or so, and no node minds."""
RESOLVE_SECONDS = 1.0
"""Between looks at what waits for the indexer."""
BUSY_ATTEMPTS = 20
"""A vault that moves faster than blocks become final is healed all the same after so many looks."""
DOUBT_SECONDS = 30.0
"""Sums wait so long for a moment without a row in doubt, which a busy chain may not have."""
LIST_SECONDS = 600.0
"""Between listings of all the chain's vaults, which is the one answer that grows with them."""


@dataclass(frozen=True, slots=True)
class PendingDifference:
    """A reading that the books did not match, and how many of them there were in a row in which
    the books did not even agree with themselves.
    """

    chain: ExpectedState
    attempts: int = 0


class Reconciler:
    """Compares vaults with the chain and has what differs logged and healed."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        programs: Programs,
        progress: IndexerProgress,
        reconciliations: ReconcileQueue,
        outbox_wake: OutboxWakeup,
        cache: BalanceCache,
        interval: float,
        threshold: int,
        board: StatusBoard,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._progress = progress
        self._reconciliations = reconciliations
        self._interval = interval
        self._threshold = threshold
        self._board = board
        self._metrics = metrics
        self._aggregate_check = AggregateCheck(
            database=database, rpc=rpc, programs=programs, threshold=threshold, metrics=metrics
        )
        self._healer = Healer(
            database=database,
            programs=programs,
            reindexer=Reindexer(database=database, rpc=rpc, programs=programs, metrics=metrics),
            outbox_wake=outbox_wake,
            cache=cache,
            threshold=threshold,
            metrics=metrics,
        )
        self._pending: dict[str, PendingDifference] = {}
        self._sums_due: float | None = None

    async def run(self) -> None:
        """Compare until cancelled: what moved at once, everything again each `interval` seconds."""
        while True:
            if self._reconciliations.take_everything():
                await self._begin()
            rolling = await self._continue_pass()
            quiet = PAGE_GAP_SECONDS if rolling else RESOLVE_SECONDS
            await self.check(await self._moved(until=trio.current_time() + quiet))
            await self.resolve_pending()

    async def full_pass(self) -> None:
        """Check every vault that has a row or should have, from the first on."""
        await self._begin()
        while await self._check_next_page():
            # The indexer waits for us when it has moved much: let it go on between pages.
            await self.check(self._reconciliations.take())

    async def _begin(self) -> None:
        async with self._database.connection() as conn:
            await pass_position.begin(conn, listing=True)

    async def _continue_pass(self) -> bool:
        """The next page, if a pass is under way or due; whether there is another."""
        async with self._database.connection() as conn:
            position = await pass_position.read(conn)
            if position.finished and position.started_ago >= self._interval:
                await pass_position.begin(conn)
            elif position.finished:
                return False
        return await self._check_next_page()

    async def _check_next_page(self) -> bool:
        """Check the owners behind the place of the pass; False when there are none left."""
        async with self._database.connection() as conn:
            position = await pass_position.read(conn)
            after = position.after_owner
            owners = await vaults.owners_after(conn, after, VAULTS_PER_CALL)
        await self.check(owners)
        if owners:
            async with self._database.connection() as conn:
                await pass_position.advance(conn, after=after, to=owners[-1])
            return True
        self._sums_due = trio.current_time()
        listing = position.listed_ago >= LIST_SECONDS
        if listing:
            await self.check(await self._aggregate_check.find_mismatched_owners())
        async with self._database.connection() as conn:
            if listing:
                await pass_position.listed(conn)
            await pass_position.finish(conn, after=after)
        self._board.task_succeeded("reconciler")
        return False

    async def check(self, owners: Iterable[str]) -> None:
        """Compare these owners' vaults now; what does not match waits for `judge`."""
        distinct = list(dict.fromkeys(owners))
        for first in range(0, len(distinct), VAULTS_PER_CALL):
            page = distinct[first : first + VAULTS_PER_CALL]
            readings = await read_vaults(
                self._rpc, self._programs, page, commitment=Commitment.CONFIRMED
            )
            held = await self._read_ledgers(page)
            for chain in self._expected(readings, held):
                owner = chain.row.owner
                if self._differences(chain, held[owner]):
                    looks = 0 if row_matches_history(held[owner]) else self._attempts(owner) + 1
                    self._pending[owner] = PendingDifference(chain, looks)
                else:
                    self._drop_pending(owner)

    async def resolve_pending(self) -> None:
        """Settle what waits, whose slot the indexer has passed and the chain has made final."""
        indexed = self._progress.slot
        ready = [
            owner
            for owner, each in self._pending.items()
            if indexed is not None and each.chain.slot <= indexed
        ]
        final: Slot | None = None
        for first in range(0, len(ready), VAULTS_PER_CALL):
            owners = ready[first : first + VAULTS_PER_CALL]
            differing = await self._still_differing(owners)
            if differing and final is None:
                final = await self._rpc.get_slot(Commitment.FINALIZED)
            due = [each for each in differing if self._slot(each) <= (final or 0)]
            try:
                await self._resolve(due, indexed or Slot(0))
            except RpcError as error:
                if error.code not in BEHIND:
                    raise
                log.info("node_is_behind", reason=str(error))  # it waits for another look
        await self._check_sums()

    async def _check_sums(self) -> None:
        """After a pass, once no row is in doubt: a wrong row is no measure for its sum."""
        due = self._sums_due
        if due is None or (self._pending and trio.current_time() < due + DOUBT_SECONDS):
            return
        self._sums_due = None
        await self._aggregate_check.check_sums()

    async def _still_differing(self, owners: Sequence[str]) -> list[str]:
        """Those whose reading the books do not match, and that have not moved since."""
        held = await self._read_ledgers(owners)
        differing, moved = [], []
        for owner in owners:
            waiting, row = self._pending[owner], held[owner].row
            if not self._differences(waiting.chain, held[owner]):
                self._drop_pending(owner)
            elif row is None or row.slot <= waiting.chain.slot:
                differing.append(owner)
            else:  # it has moved since: this reading says nothing any more
                moved.append(owner)
        for owner in owners:
            if self._attempts(owner) >= BUSY_ATTEMPTS:
                await self._reindex_busy(owner)
        await self.check(moved)
        return [owner for owner in differing if owner in self._pending]

    async def _resolve(self, owners: Sequence[str], indexed: Slot) -> None:
        """Read them again as they finally were, and have what differs settled."""
        if not owners:
            return
        newest = max(self._slot(owner) for owner in owners)
        readings = await read_vaults(
            self._rpc,
            self._programs,
            owners,
            commitment=Commitment.FINALIZED,
            at_least=newest,
        )
        held = await self._read_ledgers(owners)
        expected = self._expected(readings, held)
        for owner in {*owners}.difference(chain.row.owner for chain in expected):
            del self._pending[owner]  # there is nothing, and nothing should be
        for chain in expected:
            owner = chain.row.owner
            found = self._differences(chain, held[owner])
            row = held[owner].row
            if not found:
                self._drop_pending(owner)
            elif (row is not None and row.slot > chain.slot) or chain.slot > indexed:
                self._pending[owner] = PendingDifference(chain, self._attempts(owner))
            elif await self._healer.log_and_heal(chain, found):
                self._pending.pop(owner, None)

    async def _reindex_busy(self, owner: str) -> None:
        """One that moves all the time: its history is held against what is final by now."""
        chain = self._pending.pop(owner).chain
        try:
            problem = await self._healer.reindex(owner, chain.row.vault)
        except HistoryNotIndexed:
            return
        log.info("busy_vault_reindexed", owner=owner, problem=problem)

    async def _moved(self, *, until: float) -> list[str]:
        """The owners of the next batches, waiting for the first one until then."""
        with trio.move_on_at(until):
            return await self._reconciliations.receive()
        return []

    async def _read_ledgers(self, owners: Sequence[str]) -> dict[str, VaultLedger]:
        async with self._database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            return await vault_ledger.read(conn, owners)

    def _expected(
        self, readings: Sequence[VaultReading], held: Mapping[str, VaultLedger]
    ) -> list[ExpectedState]:
        rows = {owner: each.row for owner, each in held.items()}
        return expected_states(readings, rows, mint=self._programs.mint)

    def _differences(self, chain: ExpectedState, held: VaultLedger) -> list[Difference]:
        return differences(chain, held, threshold=self._threshold)

    def _attempts(self, owner: str) -> int:
        return self._pending[owner].attempts if owner in self._pending else -1

    def _slot(self, owner: str) -> Slot:
        return self._pending[owner].chain.slot

    def _drop_pending(self, owner: str) -> None:
        self._pending.pop(owner, None)
        self._metrics.reconciliation_checks.labels(outcome="equal").inc()
