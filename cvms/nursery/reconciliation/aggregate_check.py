"""What all vaults are and hold together: the kept sums, the rows and the chain's own list."""

from __future__ import annotations

import structlog

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.vault_listing import ListedVault, list_vaults
from cvms.chain.types import Commitment, Programs
from cvms.errors import DecodeError, RpcError
from cvms.metrics import Metrics
from cvms.store.analytics import aggregate_check
from cvms.store.analytics.aggregate_check import AggregateCounts
from cvms.store.index import cursor as cursors
from cvms.store.postgres.database import Database
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

ALL_VAULTS = "*"
"""The owner and the vault of what concerns all of them."""
COUNTING_SECONDS = 300.0
"""For counting the whole history once; the indexer waits so long, and goes on."""
OWNERS_AT_ONCE = 1000


class AggregateCheck:
    """Compares sums, and finds whose vault is not in the books."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        programs: Programs,
        threshold: int,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._threshold = threshold
        self._metrics = metrics

    async def check_sums(self) -> None:
        """Hold the kept sums against rows and history; those that differ are counted again."""
        async with self._database.connection() as conn:
            found = await aggregate_check.check(conn)
        if not found.sizes_right(self._threshold):
            await self._count_sizes(found)
        if not found.flows_right(self._threshold):
            await self._count_flows(found)

    async def find_mismatched_owners(self) -> list[str]:
        """The owners of whom the chain's list of vaults says something else than their rows.

        Many only lag: hold each against its account. None where no node lists vaults.
        """
        try:
            _, listed = await list_vaults(
                self._rpc, self._programs, commitment=Commitment.CONFIRMED
            )
        except (RpcError, DecodeError) as error:
            log.warning("vaults_not_listed", problem=str(error))
            return []
        suspects: list[str] = []
        for first in range(0, len(listed), OWNERS_AT_ONCE):
            suspects += await self._owners_with_other_total(listed[first : first + OWNERS_AT_ONCE])
        async with self._database.connection() as conn:
            tvl = await vaults.tvl(conn)
        log.info(
            "vaults_listed",
            vaults=len(listed),
            total=sum(each.total for each in listed),
            rows_total=tvl.total,
            unlike=len(suspects),
        )
        return suspects

    async def _owners_with_other_total(self, listed: list[ListedVault]) -> list[str]:
        totals = {str(each.owner): each.total for each in listed}
        async with self._database.connection() as conn:
            return await vaults.owners_with_other_total(conn, totals)

    async def _count_sizes(self, found: AggregateCounts) -> None:
        async with self._database.transaction() as conn:
            await aggregate_check.count_sizes(conn)
            entry = _entry(
                "vault_sizes",
                found,
                found.sizes,
                healed=(await aggregate_check.check(conn)).sizes_right(self._threshold),
                cause=f"{found.wrong_sizes} of the sums by size are not those of the rows",
            )
            told = await reconciliation_log.log_once(conn, entry)
        self._report(entry, told=told)

    async def _count_flows(self, found: AggregateCounts) -> None:
        async with (
            self._database.dedicated(query_timeout=COUNTING_SECONDS) as conn,
            conn.transaction(),
        ):
            await cursors.lock(conn)
            await aggregate_check.count_flows(conn)
            entry = _entry(
                "tvl",
                found,
                found.newest_hour,
                healed=(await aggregate_check.check(conn)).flows_right(self._threshold),
                cause=f"{found.wrong_flows} of the sums over time are not those of the history",
            )
            told = await reconciliation_log.log_once(conn, entry)
        self._report(entry, told=told)

    def _report(self, entry: ReconciliationEntry, *, told: bool) -> None:
        if told:
            report_difference(entry, self._metrics)


def report_difference(entry: ReconciliationEntry, metrics: Metrics) -> None:
    """Alert: the log and the metric say what differs."""
    healed = "true" if entry.healed else "false"
    metrics.reconciliation_differences.labels(field=entry.field, healed=healed).inc()
    log.error(
        "books_differ_from_chain",
        owner=entry.owner,
        field=entry.field,
        expected=entry.expected,
        actual=entry.actual,
        slot=entry.chain_slot,
        healed=entry.healed,
        cause=entry.cause,
    )


def _entry(
    field: str, found: AggregateCounts, actual: int, *, healed: bool, cause: str
) -> ReconciliationEntry:
    return reconciliation_log.entry(
        vault=ALL_VAULTS,
        owner=ALL_VAULTS,
        field=field,
        expected=found.rows,
        actual=actual,
        chain_slot=found.slot,
        healed=healed,
        cause=cause,
    )
