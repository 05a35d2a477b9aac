"""Readiness probe: once a second it checks the database, the RPC and the indexer's lag."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import trio

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.endpoint_state import summary
from cvms.chain.types import Slot
from cvms.errors import ChainTimeout, ChainUnavailable, DatabaseUnavailable, RpcError
from cvms.metrics import Metrics
from cvms.nursery.channels.indexer_progress import IndexerProgress
from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.indexed_reads.reader import Reader
from cvms.store.messaging import leader_lease
from cvms.store.messaging.leader_lease import Report
from cvms.store.postgres.database import Database
from cvms.store.postgres.outage_kinds import kind_of

PROBE_SECONDS = 1.0
TIMEOUT_SECONDS = 2.0
WRITE_SECONDS = 3.0
"""Between two writes. A write that fails is tried again at the next probe."""


@dataclass(slots=True, kw_only=True, eq=False)
class ReadinessProbe:
    """Keeps the board's components up to date: `database`, `rpc` and `indexer`."""

    database: Database
    reader: Reader
    rpc: RpcClient
    progress: IndexerProgress
    max_lag_slots: int
    board: StatusBoard
    metrics: Metrics
    _leader: Report | None = field(default=None, init=False)
    _write_at: float = field(default=-math.inf, init=False)

    async def probe(self) -> None:
        """Probe the database and the chain concurrently, for at most TIMEOUT_SECONDS."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe_database)
            nursery.start_soon(self._probe_chain)

    async def _probe_database(self) -> None:
        ok, detail, trouble = False, f"no answer within {TIMEOUT_SECONDS:g} s", "timeout"
        reads = False
        with trio.move_on_after(TIMEOUT_SECONDS):
            try:
                await self.database.probe()
                if self.database.schema_ready:
                    # How far the indexer is, for when another replica runs it.
                    async with self.database.connection() as conn:
                        self._leader = await leader_lease.report(conn)
                    reads = True
                    detail = f"no answer to a write within {TIMEOUT_SECONDS:g} s"
                    await self._probe_write()
                    ok, detail, trouble = True, f"answers{self.reader.summary}", ""
                else:
                    detail, trouble = "its schema is not applied yet", "no_schema"
            except DatabaseUnavailable as error:
                ok, detail, trouble = False, str(error), kind_of(error)
        self.board.answers_reads = reads
        self.board.set_component("database", ok=ok, detail=detail, trouble=trouble)

    async def _probe_write(self) -> None:
        now = trio.current_time()
        if now >= self._write_at:
            await self.database.probe_write()
            self._write_at = now + WRITE_SECONDS

    async def _probe_chain(self) -> None:
        slot, detail, trouble = None, f"no answer within {TIMEOUT_SECONDS:g} s", "timeout"
        with trio.move_on_after(TIMEOUT_SECONDS):
            try:
                slot = await self.rpc.probe()
                detail = summary(self.rpc.endpoints)
            except (ChainUnavailable, RpcError) as error:
                detail, trouble = str(error), _trouble_of(error)
        # One endpoint is enough to be ready; the detail shows the state of the others.
        self.board.set_component("rpc", ok=slot is not None, detail=detail, trouble=trouble)
        self._check_indexer(slot)

    def _check_indexer(self, chain: Slot | None) -> None:
        indexed: int | None = self.progress.slot
        problem = self.progress.problem
        if indexed is None and problem is None and self._leader is not None:
            indexed, problem = self._leader.slot, self._leader.problem
        if chain is not None and indexed is not None:
            self.metrics.indexing.lag_slots.set(max(0, chain - indexed))
        if self.progress.reached_at is not None:
            lag = trio.current_time() - self.progress.reached_at
            self.metrics.indexing.lag_seconds.set(lag)
        trouble, detail = _indexer_condition(
            chain, indexed, problem=problem, max_lag=self.max_lag_slots
        )
        ok = trouble is None
        self.board.set_component("indexer", ok=ok, detail=detail, trouble=trouble or "")


def _trouble_of(error: ChainUnavailable | RpcError) -> str:
    if isinstance(error, RpcError):
        return "error"
    return "timeout" if isinstance(error, ChainTimeout) else "unavailable"


def _indexer_condition(
    chain: Slot | None, indexed: int | None, *, problem: str | None, max_lag: int
) -> tuple[str | None, str]:
    """Return the kind of trouble, None if there is none, and the detail."""
    if problem is not None:
        return "stopped", problem
    if indexed is None:
        return "catching_up", "missed transactions are not applied yet"
    if chain is None:
        return "chain_unknown", f"at slot {indexed}; the chain's slot is unknown"
    lag = max(0, chain - indexed)
    detail = f"at slot {indexed}, {lag} behind the chain (at most {max_lag})"
    return ("behind" if lag > max_lag else None), detail
