"""Reconciler: compares each vault with the chain after it changed, and all vaults in passes.

A row that lags is no difference. The chain is read first, and a mismatch stays pending until the
indexer has passed the slot of that reading and the slot is finalized. Only then is it compared with
the finalized state, logged and healed. A pass goes page by page, its position is in the database,
and vaults that changed meanwhile are checked between two pages. A kind of check that fails does not
stop the others, and is tried again: see CheckProgress.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeVar

import structlog
import trio
from psycopg import IsolationLevel

from cvms.chain.rpc.error_codes import BEHIND
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import (
    ChainUnavailable,
    DecodeError,
    GapNotClosed,
    HistoryNotIndexed,
    RpcError,
)
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.indexing.missed_transactions import MissedTransactions
from cvms.nursery.reconciliation.aggregate_check import ALL_VAULTS, AggregateCheck, RowsInDoubt
from cvms.nursery.reconciliation.comparison import (
    ExpectedState,
    FieldDifference,
    PendingDifference,
    differences,
)
from cvms.nursery.reconciliation.healer import Healer, row_matches_history
from cvms.nursery.reconciliation.vault_readings import (
    VAULTS_PER_CALL,
    expected_states,
    read_vaults,
)
from cvms.nursery.reconciliation.vault_reindexer import Reindexer
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.index import vault_mints
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import pass_position, vault_ledger
from cvms.store.reconciliation.vault_ledger import VaultLedger
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

PAGE_SECONDS = 0.05
"""Delay between pages: at most 20 calls a second, or about two minutes for 100,000 vaults."""
SETTLE_SECONDS = 0.2
"""Delay before changed vaults are checked: the rest of their slot is applied and told first."""
RESOLVE_SECONDS = 1.0
"""Delay between two checks of the pending differences outside a pass."""
BUSY_ATTEMPTS = 20
"""Checks after which a vault that changes faster than blocks are finalized is reindexed."""
INDEXED_WAIT_SECONDS = 3.0
"""Longest wait until the slot of a finalized reading is indexed; the indexer looks each second."""
SUMS_WAIT_SECONDS = 30.0
"""Longest wait for a moment without pending differences, before the sums are checked anyway."""
LIST_SECONDS = 600.0
"""Interval of listing all vaults of the chain, whose response grows with their number."""
CheckKind = Literal["listing", "pass", "changed_vaults", "differences", "transactions", "sums"]
"""`differences`: those that are pending are looked at again, logged and healed once final.
`transactions`: those that were missing from the list when it was indexed."""
REFUSALS = (RpcError, ChainUnavailable, DecodeError, GapNotClosed, RowsInDoubt)
"""Errors that a node may cause for one method and not for others, or wrong rows for one check."""
T = TypeVar("T")


@dataclass(slots=True, kw_only=True, eq=False)
class Reconciler:
    """Compares vaults with the chain, and has differences logged and healed."""

    database: Database
    rpc: RpcClient
    programs: Programs
    progress: IndexerProgress
    reconciliations: ReconcileQueue
    outbox_wake: OutboxWakeup
    interval: float
    threshold: int
    hook: AlertWebhook | None
    board: StatusBoard
    metrics: Metrics
    _aggregate_check: AggregateCheck = field(init=False)
    _healer: Healer = field(init=False)
    _missed: MissedTransactions = field(init=False)
    _pending: dict[str, PendingDifference] = field(default_factory=dict, init=False)
    _changed: dict[str, None] = field(default_factory=dict, init=False)
    _sums_due: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._aggregate_check = AggregateCheck(
            database=self.database,
            rpc=self.rpc,
            programs=self.programs,
            threshold=self.threshold,
            metrics=self.metrics,
        )
        reindexer = Reindexer(
            database=self.database, rpc=self.rpc, programs=self.programs, metrics=self.metrics
        )
        self._healer = Healer(
            database=self.database,
            reindexer=reindexer,
            outbox_wake=self.outbox_wake,
            threshold=self.threshold,
            hook=self.hook,
            metrics=self.metrics,
        )
        self._missed = MissedTransactions(
            database=self.database, rpc=self.rpc, programs=self.programs
        )
        intervals: Mapping[str, float] = {
            "listing": max(self.interval, LIST_SECONDS),
            "pass": self.interval,
            "changed_vaults": RESOLVE_SECONDS,
            "differences": RESOLVE_SECONDS,
            "transactions": self.interval,
            "sums": self.interval + SUMS_WAIT_SECONDS,
        }
        self.board.checks.expect(intervals)

    async def run(self) -> None:
        """Compare until cancelled: changed vaults at once, all vaults every `interval` seconds."""
        while True:
            if self.reconciliations.take_everything():
                await self._begin()
            in_pass = await self._attempt("pass", self._continue_pass)
            with trio.move_on_after(PAGE_SECONDS if in_pass else RESOLVE_SECONDS):
                self._changed.update(dict.fromkeys(await self.reconciliations.receive()))
                if not in_pass:
                    await trio.sleep(SETTLE_SECONDS)
            self._changed.update(dict.fromkeys(self.reconciliations.take()))
            await self._attempt("changed_vaults", self._check_changed)
            await self.resolve_pending()

    async def _attempt(self, kind: CheckKind, check: Callable[[], Awaitable[T]]) -> T | None:
        """Make a check of this kind. Return None if no node lets it complete, and note why."""
        try:
            return await check()
        except REFUSALS as error:
            if self.board.checks.failed(kind, str(error)):
                behind = isinstance(error, RpcError) and error.code in BEHIND
                level = log.info if behind else log.warning
                level("check_interrupted", check=kind, reason=str(error))
            return None

    async def full_pass(self) -> None:
        """Check every vault that has a row or should have one."""
        await self._begin()
        while await self._check_next_page():
            # The indexer waits when the queue is full, so empty the queue between pages.
            self._changed.update(dict.fromkeys(self.reconciliations.take()))
            await self._check_changed()
        await self._check_changed()

    async def _begin(self) -> None:
        async with self.database.connection() as conn:
            await pass_position.begin(conn, listing=True)

    async def _continue_pass(self) -> bool:
        """Check the next page if a pass is under way or due; return whether there is another."""
        async with self.database.connection() as conn:
            position = await pass_position.read(conn)
            if position.finished and position.started_ago >= self.interval:
                await pass_position.begin(conn)
            elif position.finished:
                return False
        return await self._check_next_page()

    async def _check_next_page(self) -> bool:
        """Check the owners after the position of the pass; return False if none are left."""
        async with self.database.connection() as conn:
            position = await pass_position.read(conn)
            after = position.after_owner
            owners = await vaults.owners_after(conn, after, VAULTS_PER_CALL)
        await self._aggregate_check.check_history_sums(owners)
        await self.check(owners)
        if owners:
            async with self.database.connection() as conn:
                await pass_position.advance(conn, after=after, to=owners[-1])
            self.board.checks.progressed("pass")
            return True
        self._sums_due = self._sums_due or trio.current_time()
        if position.listed_ago >= LIST_SECONDS:
            await self._attempt("listing", self._check_listed)
        await self._attempt("transactions", self._check_transactions)
        async with self.database.connection() as conn:
            await pass_position.finish(conn, after=after)
            took = (await pass_position.read(conn)).started_ago
        self.metrics.tasks.run_seconds.labels("reconciler").observe(took)
        self.board.checks.completed("pass")
        self.board.task_succeeded("reconciler")
        return False

    async def _check_listed(self) -> None:
        """Compare the vaults that have no row, or another total than the chain lists."""
        async with self.database.connection() as conn:
            await pass_position.listed(conn)  # even if it fails: the request is expensive
            # The chain's list has them too, but not every provider offers it.
            self._changed.update(dict.fromkeys(await vault_mints.owners_without_row(conn)))
        self._changed.update(dict.fromkeys(await self._aggregate_check.find_mismatched_owners()))
        self.board.checks.completed("listing")

    async def _check_transactions(self) -> None:
        """Index the vaults again of which a transaction was missing from the list."""
        found = await self._missed.find()
        failures = [
            error
            for owner, vault in found.owners.items()
            if (error := await self._reindex(owner, vault))
        ]
        if problem := found.problem:
            failures.append(problem)
        if failures:
            raise failures[0]
        self.board.checks.completed("transactions")

    async def _check_changed(self) -> None:
        """Check the vaults that changed. Those that cannot be read stay in line."""
        while owners := list(islice(self._changed, VAULTS_PER_CALL)):
            await self.check(owners)
            for owner in owners:
                del self._changed[owner]
        self.board.checks.completed("changed_vaults")

    async def check(self, owners: Iterable[str]) -> set[str]:
        """Compare these owners' vaults now, and return those that agree with the chain.

        What differs stays pending for `resolve_pending`.
        """
        distinct, agreeing = list(dict.fromkeys(owners)), set[str]()
        for start in range(0, len(distinct), VAULTS_PER_CALL):
            page = distinct[start : start + VAULTS_PER_CALL]
            readings = await read_vaults(
                self.rpc, self.programs, page, commitment=Commitment.CONFIRMED
            )
            ledgers = await self._read_ledgers(page)
            for chain in expected_states(readings, ledgers, mint=self.programs.mint):
                owner, ledger = chain.row.owner, ledgers[chain.row.owner]
                pending = self._pending.get(owner)
                if not self._differences(chain, ledger):
                    self._drop_pending(owner)
                # A newer reading is final later: with each pass, and so never.
                elif pending is None or pending.outdated(ledger):
                    attempts = 0 if row_matches_history(ledger) else self._attempts(owner) + 1
                    self._pending[owner] = PendingDifference(chain, attempts)
            agree = [each.owner for each in readings if each.owner not in self._pending]
            await self._healer.end_alerts(agree)
            agreeing.update(agree)
        return agreeing

    async def resolve_pending(self) -> None:
        """Resolve pending differences whose slot is indexed and finalized; check sums if due."""
        await self._attempt("differences", self._resolve_ready)
        await self._attempt("sums", self._check_sums)

    async def _resolve_ready(self) -> None:
        """Resolve what is ready. Raises what prevents that, after it has gone on with the rest."""
        indexed = self.progress.slot
        failures = [error for owner in self._busy() if (error := await self._reindex_busy(owner))]
        ready = [
            owner
            for owner, each in self._pending.items()
            if indexed is not None and each.chain.slot <= indexed
        ]
        final: Slot | None = None
        for start in range(0, len(ready), VAULTS_PER_CALL):
            owners = ready[start : start + VAULTS_PER_CALL]
            differing = await self._still_differing(owners)
            if differing and final is None:
                final = await self.rpc.get_slot(Commitment.FINALIZED)
            due = [each for each in differing if self._slot(each) <= (final or 0)]
            failures += await self._resolve(due)
        if failures:
            raise failures[0]
        self.board.checks.completed("differences", finding=self._healer.finding())

    async def _check_sums(self) -> None:
        """Check the sums after a pass, once no difference is pending: sums follow the rows."""
        due = self._sums_due
        late = due is not None and trio.current_time() >= due + SUMS_WAIT_SECONDS
        if due is None or (self._pending and not late):
            return
        try:
            right = await self._aggregate_check.check_sums(self.check)
        except RowsInDoubt:
            if not late:
                return
            self._sums_due = None  # until the next pass
            raise
        self._sums_due = None
        if right:
            await self._healer.end_alerts([ALL_VAULTS])
        self.board.checks.completed("sums")

    async def _still_differing(self, owners: Sequence[str]) -> list[str]:
        """Return the owners whose vaults still differ from a reading that is not outdated."""
        ledgers = await self._read_ledgers(owners)
        differing, changed = [], []
        for owner in owners:
            pending = self._pending[owner]
            if not self._differences(pending.chain, ledgers[owner]):
                self._drop_pending(owner)
            elif pending.outdated(ledgers[owner]):
                changed.append(owner)
            else:
                differing.append(owner)
        await self.check(changed)
        return [owner for owner in differing if owner in self._pending]

    async def _resolve(self, owners: Sequence[str]) -> list[Exception]:
        """Read the finalized state of these vaults, and have differences from it healed.

        Return the errors that prevented it for one of them, which stays pending.
        """
        failures: list[Exception] = []
        if not owners:
            return failures
        newest = max(self._slot(owner) for owner in owners)
        readings = await read_vaults(
            self.rpc, self.programs, owners, commitment=Commitment.FINALIZED, at_least=newest
        )
        # Where slots are final before they are indexed, no reading would ever count.
        with trio.move_on_after(INDEXED_WAIT_SECONDS):
            await self.progress.reached(max((each.slot for each in readings), default=newest))
        indexed = self.progress.slot or Slot(0)
        ledgers = await self._read_ledgers(owners)
        expected = expected_states(readings, ledgers, mint=self.programs.mint)
        for owner in {*owners}.difference(chain.row.owner for chain in expected):
            del self._pending[owner]  # there is neither an account nor a row
        for chain in expected:
            owner = chain.row.owner
            found = self._differences(chain, ledgers[owner])
            row = ledgers[owner].row
            if not found:
                self._drop_pending(owner)
            elif (row is not None and row.slot > chain.slot) or chain.slot > indexed:
                self._pending[owner] = PendingDifference(chain, self._attempts(owner))
            else:
                try:
                    if await self._healer.log_and_heal(chain, found):
                        self._pending.pop(owner, None)
                except REFUSALS as error:
                    failures.append(error)
        return failures

    def _busy(self) -> list[str]:
        return [owner for owner in self._pending if self._attempts(owner) >= BUSY_ATTEMPTS]

    async def _reindex_busy(self, owner: str) -> Exception | None:
        """Reindex the finalized history of a vault that changes too often to be compared.

        Return the error that prevented it.
        """
        return await self._reindex(owner, self._pending.pop(owner).chain.row.vault)

    async def _reindex(self, owner: str, vault: str) -> Exception | None:
        try:
            problem = await self._healer.reindex(owner, vault)
        except HistoryNotIndexed:
            return None
        except REFUSALS as error:
            return error
        log.info("vault_reindexed", owner=owner, problem=problem)
        return None

    async def _read_ledgers(self, owners: Sequence[str]) -> dict[str, VaultLedger]:
        async with self.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            return await vault_ledger.read(conn, owners)

    def _differences(self, chain: ExpectedState, ledger: VaultLedger) -> list[FieldDifference]:
        return differences(chain, ledger, threshold=self.threshold)

    def _attempts(self, owner: str) -> int:
        return self._pending[owner].attempts if owner in self._pending else -1

    def _slot(self, owner: str) -> Slot:
        return self._pending[owner].chain.slot

    def _drop_pending(self, owner: str) -> None:
        self._pending.pop(owner, None)
        self._healer.unhealed.pop(owner, None)
        self.metrics.reconciliation.checks.labels(outcome="equal").inc()
