"""Build the books again from the chain, beside the live ones, and hold these against them.

What is built is in a schema of its own and stays there when the command is interrupted: the next
one goes on from its cursor. The live books are only read, until what differs is exchanged in one
transaction, under the lock by which whoever applies events takes turns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.bounded_client import BoundedRpcClient
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import RebuildNotPossible
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, TimelockWakeup, TvlWakeup
from cvms.nursery.indexing.finalized_recheck import FinalizedRecheck
from cvms.nursery.indexing.finalizer import Finalizer
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.ledger.outbox_messages import balance_message
from cvms.nursery.reconciliation.vault_readings import expected_states, read_vaults
from cvms.store.analytics import aggregate_check
from cvms.store.index import cursor as cursors
from cvms.store.index.cursor import Cursor
from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection import rebuild_schema, vault_writer
from cvms.store.projection.rebuild_schema import RowDifference, TableComparison
from cvms.store.reconciliation import vault_ledger
from cvms.store.redis.balance_cache import NoCache
from cvms.store.security import audit_log
from cvms.store.vaults import vaults

COMPARE_SECONDS = 3600.0
"""For one statement over whole tables."""
ROUNDS = 5
"""Tries to meet the live cursor while it moves; after these the indexer is made to wait."""
REPORT_SECONDS = 1.0
RETRY_SECONDS = 0.2
VAULTS_AT_ONCE = 50
MOST_VAULTS = 100_000
"""Vaults whose rows differ that are looked at one by one, since their accounts may have moved."""


@dataclass(frozen=True, slots=True)
class RebuildProgress:
    """How far the building is: `slot` of `target`, None before the first transaction."""

    slot: int | None
    target: int


@dataclass(frozen=True, slots=True)
class RebuildOutcome:
    """What was compared as of `cursor`: by table how many rows differ, and the first of them.

    `moved` vaults were left out, since their accounts changed behind the cursor. `replaced`: the
    live tables now are what was built.
    """

    cursor: Cursor
    resumed_from: int | None
    counts: dict[str, int]
    first: list[RowDifference]
    moved: int
    replaced: bool

    @property
    def equal(self) -> bool:
        return not any(self.counts.values())


class FullRebuild:
    """One run of `cvms index rebuild`."""

    def __init__(
        self,
        *,
        live: Database,
        scratch: Database,
        rpc: RpcClient,
        programs: Programs,
        report: Callable[[RebuildProgress], None],
        told: int,
    ) -> None:
        self._live = live
        self._scratch = scratch
        self._rpc = rpc
        self._programs = programs
        self._program = str(programs.vault)
        self._report = report
        self._told = told
        self._resumed_from: int | None = None

    async def run(self, *, replace: bool) -> RebuildOutcome:
        """Build, compare and, if wanted, exchange. Raises RebuildNotPossible and GapNotClosed."""
        built = await self._cursor(self._scratch)
        self._resumed_from = built.slot if built else None
        for _ in range(ROUNDS):
            target = await self._cursor(self._live)
            if target is None:
                raise RebuildNotPossible("Nothing is indexed yet, so there is nothing to compare.")
            await self._build(target)
            if replace:
                break
            if outcome := await self._meet(target, replace=False, lock=False):
                return outcome
        outcome = await self._meet(None, replace=replace, lock=True)
        assert outcome is not None
        return outcome

    async def _build(self, target: Cursor) -> None:
        """Apply everything up to the target, by the code that applies it live."""
        rpc = BoundedRpcClient(self._rpc, program=self._programs.vault, last=target.signature)
        reconciliations = ReconcileQueue()
        indexer = Indexer(
            database=self._scratch,
            rpc=rpc,
            ws_urls=(),
            programs=self._programs,
            progress=IndexerProgress(),
            indexed=reconciliations.indexed,
            outbox_wake=OutboxWakeup(),
            tvl_wake=TvlWakeup(),
            timelock_wake=TimelockWakeup(),
            cache=NoCache(),
            board=StatusBoard(),
            metrics=Metrics(),
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_drain, reconciliations)
            nursery.start_soon(self._report_progress, target)
            # Not all at once where the node does not have all of what it lists yet.
            while not await indexer.catch_up():  # noqa: ASYNC110
                await trio.sleep(RETRY_SECONDS)
            nursery.cancel_scope.cancel()
        second_look = FinalizedRecheck(
            database=self._scratch,
            rpc=self._rpc,
            programs=self._programs,
            outbox_wake=OutboxWakeup(),
            cache=NoCache(),
        )
        settler = Finalizer(
            database=self._scratch,
            rpc=self._rpc,
            forks=indexer.forks,
            recheck=second_look,
            board=StatusBoard(),
        )
        await settler.run_once()
        self._report(RebuildProgress(target.slot, target.slot))

    async def _report_progress(self, target: Cursor) -> None:
        while True:
            cursor = await self._cursor(self._scratch)
            self._report(RebuildProgress(cursor.slot if cursor else None, target.slot))
            await trio.sleep(REPORT_SECONDS)

    async def _meet(
        self, target: Cursor | None, *, replace: bool, lock: bool
    ) -> RebuildOutcome | None:
        """Compare at the target, or where the live cursor is once it is held.

        None when it has moved on from the target meanwhile.
        """
        async with (
            self._live.dedicated(query_timeout=COMPARE_SECONDS) as conn,
            conn.transaction(),
        ):
            if lock:
                await cursors.lock(conn)
                target = await cursors.get(conn, self._program)
                assert target is not None
                await self._build(target)
            live = await cursors.get(conn, self._program)
            assert target is not None
            if live != target:
                return None
            outcome = await self._compare(conn, target, replace=replace)
            return outcome if await cursors.get(conn, self._program) == target else None

    async def _compare(self, conn: Connection, cursor: Cursor, *, replace: bool) -> RebuildOutcome:
        schema = await rebuild_schema.live_schema(conn)
        comparison = TableComparison(conn, live=schema, slot=cursor.slot)
        await comparison.compare()
        suspects = await comparison.keys("vaults", MOST_VAULTS)
        if suspects:
            await self._read_again(suspects)
            await comparison.compare()
        moved = await self._moved(await comparison.keys("vaults", MOST_VAULTS), cursor)
        await comparison.set_aside("vaults", moved)
        counts = await comparison.counts()
        sizes = (await aggregate_check.check(conn)).wrong_sizes
        outcome = RebuildOutcome(
            cursor=cursor,
            resumed_from=self._resumed_from,
            counts=counts | {"vault_sizes": sizes},
            first=await comparison.first(self._told),
            moved=len(moved),
            replaced=replace,
        )
        if replace:
            await self._exchange(conn, comparison, outcome, moved)
        return outcome

    async def _read_again(self, owners: list[str]) -> None:
        """Accounts were read while the books were built: read those that differ as they are."""
        for first in range(0, len(owners), VAULTS_AT_ONCE):
            some = owners[first : first + VAULTS_AT_ONCE]
            readings = await read_vaults(
                self._rpc, self._programs, some, commitment=Commitment.CONFIRMED
            )
            async with self._scratch.transaction() as conn:
                held = await vault_ledger.read(conn, some)
                rows = {owner: each.row for owner, each in held.items()}
                known = [each for each in readings if rows[each.owner] is not None]
                expected = expected_states(known, rows, mint=self._programs.mint)
                await vault_writer.advance(conn, [e.row for e in expected], final=False)

    async def _moved(self, owners: list[str], cursor: Cursor) -> list[str]:
        """Those whose vaults have transactions that follow the cursor."""
        moved = []
        async with self._scratch.connection() as conn:
            for owner in owners:
                row = await vaults.get(conn, owner)
                if row is not None and await self._newest_slot(row.vault) > cursor.slot:
                    moved.append(owner)
        return moved

    async def _newest_slot(self, vault: str) -> Slot:
        infos = await self._rpc.get_signatures_for_address(
            Pubkey.from_string(vault), commitment=Commitment.CONFIRMED, limit=1
        )
        return infos[0].slot if infos else Slot(0)

    async def _exchange(
        self,
        conn: Connection,
        comparison: TableComparison,
        outcome: RebuildOutcome,
        moved: list[str],
    ) -> None:
        """Bring what was built into the live tables; raises unless they are equal then."""
        changed = await comparison.keys("vaults", MOST_VAULTS)
        await comparison.exchange()
        await aggregate_check.count_sizes(conn)
        held = await vault_ledger.read(conn, changed)
        rows = {owner: each.row for owner, each in held.items() if each.row is not None}
        await comparison.compare()
        await comparison.set_aside("vaults", moved)
        left = {name: count for name, count in (await comparison.counts()).items() if count}
        if left:
            raise RebuildNotPossible(f"The exchange left differences, and is undone: {left}")
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
            },
        )
        told = [balance_message(rows[owner], signature=None) for owner in changed if owner in rows]
        await outbox.append(conn, told)
        await rebuild_schema.drop(conn)

    async def _cursor(self, database: Database) -> Cursor | None:
        async with database.connection() as conn:
            return await cursors.get(conn, self._program)


@asynccontextmanager
async def open_rebuild(
    database_url: str,
    *,
    rpc: RpcClient,
    programs: Programs,
    fresh: bool,
    report: Callable[[RebuildProgress], None],
    told: int,
) -> AsyncIterator[FullRebuild]:
    """A rebuild that nobody else is at. Raises RebuildNotPossible if somebody is.

    With `fresh`, what an interrupted one has left is dropped.
    """
    async with (
        open_database(database_url) as live,
        open_database(rebuild_schema.scratch_conninfo(database_url)) as scratch,
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
            told=told,
        )


async def _make_scratch(conn: Connection, programs: Programs, *, fresh: bool) -> None:
    of = f"the books of {programs.vault} over {programs.mint}, built again by cvms"
    if fresh:
        await rebuild_schema.drop(conn)
    note = await rebuild_schema.note(conn)
    if note not in (None, of):
        raise RebuildNotPossible(
            f"The schema {rebuild_schema.SCHEMA} is of something else ({note or 'no comment'}); "
            "--fresh drops it."
        )
    await rebuild_schema.create(conn, of)


async def _drain(reconciliations: ReconcileQueue) -> None:
    while True:
        await reconciliations.receive()
