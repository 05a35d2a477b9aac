"""Full rebuild: indexes the chain again into a scratch schema and compares it with the live one.

The scratch schema stays when the command is interrupted, and the next run resumes from its cursor.
The live tables are only read, until the rows that differ are replaced in one transaction, under the
lock that serializes all processes that apply events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from cvms.chain.rpc.bounded_client import BoundedRpcClient
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.errors import RebuildIncomplete, RebuildNotPossible
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup, TvlWakeup
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.finalizer import Finalizer
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.ledger.outbox_messages import balance_message, row_message
from cvms.nursery.reconciliation.rebuild_completeness import (
    Completeness,
    CompletenessCheck,
    moved_owners,
)
from cvms.nursery.reconciliation.vault_readings import (
    VAULTS_PER_CALL,
    expected_states,
    read_vaults,
)
from cvms.store.analytics import aggregate_check
from cvms.store.index import cursor as cursors
from cvms.store.index.cursor import Cursor
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection import rebuild_schema, vault_writer
from cvms.store.projection.rebuild_owners import RebuildOwners
from cvms.store.projection.rebuild_schema import RowDifference, TableComparison
from cvms.store.reconciliation import vault_ledger
from cvms.store.security import audit_log
from cvms.store.vaults import vaults

COMPARE_SECONDS = 3600.0
"""Timeout of one statement over whole tables."""
UNLOCKED_ATTEMPTS = 5
"""Attempts to compare while the live cursor moves; after these the indexer is made to wait."""
REPORT_SECONDS = 1.0
RETRY_SECONDS = 0.2
MAX_VAULTS = 100_000
"""Vaults with different rows that are read one by one, since their accounts may have changed."""


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """Progress towards the slot `target`; `slot` is None before the first transaction."""

    slot: int | None
    target: int

    def __str__(self) -> str:
        applied = "nothing yet" if self.slot is None else f"up to slot {self.slot}"
        return f"applied {applied}, of {self.target}"


@dataclass(frozen=True, slots=True)
class ComparisonProgress:
    """The number of rows of a table that have been compared so far, at least."""

    table: str
    rows: int

    def __str__(self) -> str:
        return f"compared {self.rows} rows of {self.table}"


@dataclass(frozen=True, slots=True)
class RebuildOutcome:
    """Result of the comparison at `cursor`: the number of different rows by table, and the first.

    The rows of `moved` vaults were left out, since their accounts changed after the cursor. If
    `replaced`, the live tables now equal the rebuilt ones. Unless `complete` has no vaults,
    differences say nothing about the live tables.
    """

    cursor: Cursor
    resumed_from: int | None
    counts: dict[str, int]
    first: list[RowDifference]
    moved: int
    completeness: Completeness
    replaced: bool

    @property
    def equal(self) -> bool:
        return not any(self.counts.values()) and not self.completeness.vaults


@dataclass(slots=True, kw_only=True, eq=False)
class FullRebuild:
    """One run of `cvms index rebuild`."""

    live: Database
    scratch: Database
    rpc: RpcClient
    programs: Programs
    report: Callable[[RebuildProgress | ComparisonProgress], None]
    max_shown: int
    accept_incomplete: bool = False
    _resumed_from: int | None = field(default=None, init=False)

    async def run(self, *, replace: bool) -> RebuildOutcome:
        """Rebuild, compare and, with `replace`, replace the live rows that differ.

        Raises RebuildNotPossible and GapNotClosed, and RebuildIncomplete instead of replacing
        anything if what was rebuilt does not add up, unless `accept_incomplete`.
        """
        scratch_cursor = await self._cursor(self.scratch)
        self._resumed_from = scratch_cursor.slot if scratch_cursor else None
        for _ in range(UNLOCKED_ATTEMPTS):
            target = await self._cursor(self.live)
            if target is None:
                raise RebuildNotPossible("Nothing is indexed yet, so there is nothing to compare.")
            await self._build(target)
            if replace:
                break
            if outcome := await self._compare_unlocked(target):
                return outcome
        return await self._compare_locked(replace=replace)

    async def _build(self, target: Cursor) -> None:
        """Apply everything up to the target, with the indexer's own code."""
        rpc = BoundedRpcClient(self.rpc, program=self.programs.vault, last=target.signature)
        reconciliations = ReconcileQueue()
        indexer = Indexer(
            database=self.scratch,
            rpc=rpc,
            ws_urls=(),
            programs=self.programs,
            progress=IndexerProgress(),
            indexed=reconciliations.indexed,
            outbox_wake=OutboxWakeup(),
            tvl_wake=TvlWakeup(),
            timelock_wake=TimelockWakeup(),
            board=StatusBoard(),
            metrics=Metrics(),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, reconciliations)
            nursery.start_soon(self._report_progress, target)
            # It takes several runs while the node lacks transactions that it lists.
            while not await indexer.catch_up():  # noqa: ASYNC110
                await trio.sleep(RETRY_SECONDS)
            nursery.cancel_scope.cancel()
        recheck = FinalizedRecheck(
            database=self.scratch,
            rpc=self.rpc,
            programs=self.programs,
            outbox_wake=OutboxWakeup(),
        )
        finalizer = Finalizer(
            database=self.scratch, rpc=self.rpc, forks=indexer.forks, recheck=recheck
        )
        await finalizer.run_once()
        self.report(RebuildProgress(target.slot, target.slot))

    async def _report_progress(self, target: Cursor) -> None:
        while True:
            cursor = await self._cursor(self.scratch)
            self.report(RebuildProgress(cursor.slot if cursor else None, target.slot))
            await trio.sleep(REPORT_SECONDS)

    async def _compare_unlocked(self, target: Cursor) -> RebuildOutcome | None:
        """Compare at the target. Return None if the live cursor has moved from it."""
        program = str(self.programs.vault)
        async with self.live.dedicated(query_timeout=COMPARE_SECONDS) as conn, conn.transaction():
            if await cursors.get(conn, program) != target:
                return None
            outcome = await self._compare(conn, target, replace=False)
            return outcome if await cursors.get(conn, program) == target else None

    async def _compare_locked(self, *, replace: bool) -> RebuildOutcome:
        """Compare at the live cursor, which cannot move meanwhile."""
        async with self.live.dedicated(query_timeout=COMPARE_SECONDS) as conn, conn.transaction():
            await cursors.lock(conn)
            target = await cursors.get(conn, str(self.programs.vault))
            assert target is not None
            await self._build(target)
            return await self._compare(conn, target, replace=replace)

    async def _compare(self, conn: Connection, cursor: Cursor, *, replace: bool) -> RebuildOutcome:
        live = await rebuild_schema.live_schema(conn)
        comparison = TableComparison(
            conn,
            live=live,
            slot=cursor.slot,
            report=lambda table, rows: self.report(ComparisonProgress(table, rows)),
        )
        await comparison.compare()
        if differing := await comparison.keys("vaults", MAX_VAULTS):
            await self._read_again(differing)
            await comparison.compare()
        differing = await comparison.keys("vaults", MAX_VAULTS)
        moved = await moved_owners(self.scratch, self.rpc, differing, cursor)
        await comparison.set_aside("vaults", moved)
        check = CompletenessCheck(scratch=self.scratch, rpc=self.rpc, programs=self.programs)
        completeness = await check.check(RebuildOwners(conn, live=live), cursor)
        if replace and completeness.vaults and not self.accept_incomplete:
            raise RebuildIncomplete(self._refusal(completeness))
        counts = await comparison.counts()
        sizes = (await aggregate_check.check(conn)).wrong_sizes
        outcome = RebuildOutcome(
            cursor=cursor,
            resumed_from=self._resumed_from,
            counts=counts | {"vault_sizes": sizes},
            first=await comparison.first(self.max_shown),
            moved=len(moved),
            completeness=completeness,
            replaced=replace,
        )
        if replace:
            await self._replace(conn, comparison, outcome, moved)
        return outcome

    def _refusal(self, completeness: Completeness) -> str:
        shown = completeness.vaults[: self.max_shown]
        return (
            f"The rebuilt index is incomplete; nothing is replaced. {completeness.summary}: "
            + "; ".join(f"{each.owner}: {each.problem}" for each in shown)
        )

    async def _read_again(self, owners: list[str]) -> None:
        """Read the accounts of these owners again, since they may have changed during the build."""
        for start in range(0, len(owners), VAULTS_PER_CALL):
            page = owners[start : start + VAULTS_PER_CALL]
            readings = await read_vaults(
                self.rpc, self.programs, page, commitment=Commitment.CONFIRMED
            )
            async with self.scratch.transaction() as conn:
                ledgers = await vault_ledger.read(conn, page)
                known = [each for each in readings if ledgers[each.owner].row is not None]
                expected = expected_states(known, ledgers, mint=self.programs.mint)
                await vault_writer.advance(conn, [e.row for e in expected], final=False)

    async def _replace(
        self,
        conn: Connection,
        comparison: TableComparison,
        outcome: RebuildOutcome,
        moved: list[str],
    ) -> None:
        """Copy the different rows into the live tables.

        Raises RebuildNotPossible, which rolls it back, if the tables differ afterwards.
        """
        changed = await comparison.keys("vaults", MAX_VAULTS)
        before = {row.owner: row for row in await vaults.get_many(conn, changed) if row is not None}
        await comparison.exchange()
        await aggregate_check.count_sizes(conn)
        ledgers = await vault_ledger.read(conn, changed)
        rows = [row for owner in changed if (row := ledgers[owner].row) is not None]
        await comparison.compare()
        await comparison.set_aside("vaults", moved)
        left = {name: count for name, count in (await comparison.counts()).items() if count}
        if left:
            raise RebuildNotPossible(f"The tables still differ; nothing is replaced: {left}")
        await audit_log.record(
            conn,
            actor="cvms index rebuild",
            action="books_replaced",
            owner=None,
            outcome="ok",
            details={
                "signature": outcome.cursor.signature,
                "slot": outcome.cursor.slot,
                "rows": {name: count for name, count in outcome.counts.items() if count},
                "incomplete_vaults_accepted": len(outcome.completeness.vaults),
            },
        )
        replaced = row_message(None, slot=outcome.cursor.slot)  # `changed` may not name all
        told = [balance_message(row, before=before.get(row.owner)) for row in rows]
        await outbox.append(conn, [replaced, *told])
        await rebuild_schema.drop(conn)

    async def _cursor(self, database: Database) -> Cursor | None:
        async with database.connection() as conn:
            return await cursors.get(conn, str(self.programs.vault))


@asynccontextmanager
async def open_rebuild(
    database_url: str,
    *,
    rpc: RpcClient,
    programs: Programs,
    fresh: bool,
    report: Callable[[RebuildProgress | ComparisonProgress], None],
    max_shown: int,
    accept_incomplete: bool = False,
) -> AsyncIterator[FullRebuild]:
    """Open a rebuild under a lock. Raises RebuildNotPossible if another one is running.

    With `fresh`, the scratch schema of an interrupted rebuild is dropped. `max_shown` limits the
    different rows of each table in the outcome. With `accept_incomplete`, live tables are replaced
    by what does not add up to the vaults' accounts.
    """
    async with (
        open_database(database_url) as live,
        open_database(database_url, schema=rebuild_schema.SCHEMA) as scratch,
        live.dedicated(query_timeout=COMPARE_SECONDS) as holder,
    ):
        if not await rebuild_schema.try_lock(holder):
            raise RebuildNotPossible("Another rebuild of this database is running.")
        await live.prepare()
        await _make_scratch(holder, programs, fresh=fresh)
        await scratch.prepare()
        yield FullRebuild(
            live=live,
            scratch=scratch,
            rpc=rpc,
            programs=programs,
            report=report,
            max_shown=max_shown,
            accept_incomplete=accept_incomplete,
        )


async def _make_scratch(conn: Connection, programs: Programs, *, fresh: bool) -> None:
    contents = f"the books of {programs.vault} over {programs.mint}, built again by cvms"
    if fresh:
        await rebuild_schema.drop(conn)
    note = await rebuild_schema.note(conn)
    if note not in (None, contents):
        raise RebuildNotPossible(
            f"The schema {rebuild_schema.SCHEMA} is of something else ({note or 'no comment'}); "
            "--fresh drops it."
        )
    await rebuild_schema.create(conn, contents)


async def _drain(reconciliations: ReconcileQueue) -> None:
    while True:
        await reconciliations.receive()
