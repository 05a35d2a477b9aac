"""Check of aggregates over all vaults: stored sums, rows and the chain's list of vaults."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

import structlog

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.vault_listing import (
    ListedVault,
    list_vaults,
    owner_prefixes,
)
from cvms.chain.types import Commitment, Programs
from cvms.errors import CvmsError
from cvms.metrics import Metrics
from cvms.store.analytics import aggregate_check
from cvms.store.analytics.aggregate_check import AggregateCounts
from cvms.store.index import cursor as cursors
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.reconciliation import reconciliation_log, vault_ledger
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.vaults import vaults

log = structlog.get_logger(__name__)

ALL_VAULTS = "*"
"""Owner and vault of a log entry about all vaults."""
HISTORY_SUMS, VAULT_SIZES, TVL = "history_sums", "vault_sizes", "tvl"
"""The fields of a log entry about sums."""
RECOUNT_SECONDS = 300.0
"""Timeout of a count of all vaults, or of the whole history, for which the indexer waits."""
OWNERS_PER_QUERY = 1000
PARTS_AT_ONCE = 16
"""Parts of a long list that are read at once. For each, a node looks through all accounts."""


Compare = Callable[[Sequence[str]], Awaitable[Collection[str]]]
"""Compares the rows of these owners with the chain, and returns those that agree."""
IN_DOUBT_AT_ONCE = 1000
"""Owners in doubt that are compared before the sums are looked at again."""


class RowsInDoubt(CvmsError):
    """Sums are wrong, and so may be the rows of these owners, from which they would be counted."""

    def __init__(self, owners: Sequence[str]) -> None:
        count = f"{len(owners)}{' or more' if len(owners) == IN_DOUBT_AT_ONCE else ''}"
        super().__init__(
            f"sums differ, and are counted again once {count} vaults, whose rows differ from "
            f"their history, are corrected; the first is of owner {owners[0]}"
        )
        self.owners = owners


@dataclass(slots=True, kw_only=True, eq=False)
class AggregateCheck:
    """Compares stored sums, and finds vaults whose rows differ from the chain's list."""

    database: Database
    rpc: RpcClient
    programs: Programs
    threshold: int
    metrics: Metrics
    _parts_left: list[bytes] = field(default_factory=list, init=False)

    async def check_sums(self, compare: Compare) -> bool:
        """Compare the stored sums with rows and history, and recount those that differ.

        Return whether all are right now. If they are wrong, rows that differ from their history may
        be wrong too, so `compare` is called with their owners. Raises RowsInDoubt, and changes
        nothing, if any of these rows is not the chain's.
        """
        try:
            return await self._check_sums(None)
        except RowsInDoubt as doubt:
            compared = await compare(doubt.owners)
        return await self._check_sums(compared)

    async def _check_sums(self, known: Collection[str] | None) -> bool:
        async with self.database.dedicated(query_timeout=RECOUNT_SECONDS) as conn:
            found = await aggregate_check.check(conn)
            sizes, flows = found.sizes_right(self.threshold), found.flows_right(self.threshold)
            if sizes and flows:
                return True
            compared = known or ()
            await _require_no_doubt(conn, compared, ahead=known is None)
        right = True
        if not sizes:
            right &= await self._recount_sizes(found, compared)
        if not flows:
            right &= await self._recount_flows(found, compared)
        return right

    async def check_history_sums(self, owners: Sequence[str]) -> None:
        """Compare the kept sums of these owners' history with its lines; count wrong ones again."""
        async with self.database.connection() as conn:
            wrong = await vault_ledger.owners_with_wrong_sums(conn, owners)
        if not wrong:
            return
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            wrong = await vault_ledger.owners_with_wrong_sums(conn, wrong)
            await vault_ledger.count_sums(conn, wrong)
        healed = self.metrics.reconciliation.differences.labels(field=HISTORY_SUMS, healed="true")
        for owner in wrong:
            log.error("history_sums_counted_again", owner=owner)
            healed.inc()

    async def find_mismatched_owners(self) -> list[str]:
        """Return the owners whose total in the chain's list of vaults differs from their rows.

        Many of these rows only lag, so each has to be compared with its account. A long list is
        continued by the next calls; what could not be read is read again. Raises as `list_vaults`:
        not every node lists them.
        """
        async with self.database.connection() as conn:
            stored = await vaults.tvl(conn)
        parts = self._next_parts(owner_prefixes(stored.vaults))
        mismatched: list[str] = []
        count = total = 0
        for owners_begin in parts:
            listed = await list_vaults(
                self.rpc,
                self.programs,
                commitment=Commitment.CONFIRMED,
                owners_begin=owners_begin,
            )
            mismatched += await self._mismatched(listed)
            count += len(listed)
            total += sum(each.total for each in listed)
        del self._parts_left[: len(parts)]
        log.info(
            "vaults_listed",
            parts=len(parts),
            vaults=count,
            total=total,
            rows_total=stored.total,
            mismatched=len(mismatched),
        )
        return mismatched

    def _next_parts(self, parts: list[bytes]) -> list[bytes]:
        """Return the parts that are next in turn, and begin again after the last."""
        if not self._parts_left or not {*self._parts_left} <= {*parts}:
            self._parts_left = random.sample(parts, len(parts))
        return self._parts_left[:PARTS_AT_ONCE]

    async def _mismatched(self, listed: Sequence[ListedVault]) -> list[str]:
        mismatched: list[str] = []
        for start in range(0, len(listed), OWNERS_PER_QUERY):
            page = listed[start : start + OWNERS_PER_QUERY]
            totals = {str(each.owner): each.total for each in page}
            async with self.database.connection() as conn:
                mismatched += await vaults.owners_with_other_total(conn, totals)
        return mismatched

    async def _recount_sizes(self, found: AggregateCounts, compared: Collection[str]) -> bool:
        async with (
            self.database.dedicated(query_timeout=RECOUNT_SECONDS) as conn,
            conn.transaction(),
        ):
            await aggregate_check.count_sizes(conn)
            healed = (await aggregate_check.check(conn)).sizes_right(self.threshold)
            cause = f"{found.wrong_sizes} sums by size differ from the rows"
            entry = await _log(conn, VAULT_SIZES, found, found.sizes, healed=healed, cause=cause)
            await _require_no_doubt(conn, compared)  # or a row was altered just before
        if entry is not None:
            report_difference(entry, self.metrics)
        return healed

    async def _recount_flows(self, found: AggregateCounts, compared: Collection[str]) -> bool:
        async with (
            self.database.dedicated(query_timeout=RECOUNT_SECONDS) as conn,
            conn.transaction(),
        ):
            await cursors.lock(conn)
            await aggregate_check.count_flows(conn)
            healed = (await aggregate_check.check(conn)).flows_right(self.threshold)
            cause = f"{found.wrong_flows} sums over time differ from the history"
            entry = await _log(conn, TVL, found, found.newest_hour, healed=healed, cause=cause)
            await _require_no_doubt(conn, compared)
        if entry is not None:
            report_difference(entry, self.metrics)
        return healed


def report_difference(entry: ReconciliationEntry, metrics: Metrics) -> None:
    """Log a difference as an error, and count it in the metric that alerts are based on."""
    healed = "true" if entry.healed else "false"
    metrics.reconciliation.differences.labels(field=entry.field, healed=healed).inc()
    log.error(
        "difference_found",
        owner=entry.owner,
        field=entry.field,
        expected=entry.expected,
        actual=entry.actual,
        slot=entry.chain_slot,
        healed=entry.healed,
        cause=entry.cause,
    )


async def _require_no_doubt(
    conn: Connection, compared: Collection[str], *, ahead: bool = False
) -> None:
    """Raise RowsInDoubt if rows differ from their history and are not those of the chain.

    Of a busy program, some are always `ahead`. All have been compared once before a sum changes.
    """
    limit = len(compared) + IN_DOUBT_AT_ONCE
    owners = await vault_ledger.owners_in_doubt(conn, limit, ahead=ahead)
    doubtful = [owner for owner in owners if owner not in compared]
    if doubtful:
        raise RowsInDoubt(doubtful[:IN_DOUBT_AT_ONCE])


async def _log(
    conn: Connection, field: str, found: AggregateCounts, actual: int, *, healed: bool, cause: str
) -> ReconciliationEntry | None:
    """Return the entry that was logged, None if the difference was logged in this pass already."""
    entry = reconciliation_log.entry(
        vault=ALL_VAULTS,
        owner=ALL_VAULTS,
        field=field,
        expected=found.rows,
        actual=actual,
        chain_slot=found.slot,
        healed=healed,
        cause=cause,
    )
    return entry if await reconciliation_log.log_once(conn, entry) else None
