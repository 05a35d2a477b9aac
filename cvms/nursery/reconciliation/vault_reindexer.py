"""Reindexer of one vault's history: each correction is logged, and the whole is audited.

The indexer's cursor is locked meanwhile, so that nothing is applied between the comparison and the
corrections, and the second of two replicas finds nothing left to do. A node's list
may have holes, so a stored transaction is removed only with proof that the chain lacks it; the
blocks for that are read before the lock is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from psycopg import IsolationLevel
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Programs, Slot
from cvms.errors import HistoryNotIndexed
from cvms.metrics import Metrics
from cvms.nursery.ledger.running_balances import running_balances
from cvms.nursery.reconciliation.aggregate_check import RECOUNT_SECONDS
from cvms.nursery.reconciliation.chain_history import (
    VaultHistory,
    prove_absent,
    read_proven_history,
)
from cvms.nursery.reconciliation.history_diff import HistoryDiff, diff_history
from cvms.nursery.reconciliation.late_messages import append_late_messages
from cvms.store.analytics import aggregate_check, aggregates, event_counters
from cvms.store.index import chain_events, vault_mints
from cvms.store.index import cursor as cursors
from cvms.store.index.chain_events import EventRow
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry
from cvms.store.security import audit_log
from cvms.store.vaults import account_offsets, balance_history, history, vaults

log = structlog.get_logger(__name__)

OFFSET_EVENTS = frozenset({"VaultClosedEvent", "UpdateUsdtMintEvent"})
"""Events that change a vault's offsets: these are corrected only once such events are finalized."""


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """The stored events, the last indexed slot, and the difference from the chain's history."""

    reached: Slot
    events: list[EventRow]
    diff: HistoryDiff


@dataclass(slots=True, kw_only=True, eq=False)
class Reindexer:
    """Corrects what is stored of a vault's history, from its finalized transactions.

    Subscribers are told what they were not told before.
    """

    database: Database
    rpc: RpcClient
    programs: Programs
    metrics: Metrics

    async def reindex(self, address: Pubkey, owner: str) -> int:
        """Correct the owner's history; return the number of corrections.

        Raises HistoryNotProven if the node does not show the history or lacks a stored transaction
        whose absence nothing proves, and HistoryNotIndexed if the indexer is behind it or applies
        something meanwhile. Nothing is changed then.
        """
        proven = await read_proven_history(self.rpc, self.programs, address=address, owner=owner)
        async with self.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
            unlisted = (await self._compare(conn, proven)).diff.unlisted(proven.listed)
        absent = await prove_absent(self.rpc, self.programs, proven, unlisted)
        async with (
            self.database.dedicated(query_timeout=RECOUNT_SECONDS) as conn,
            conn.transaction(),
        ):
            await cursors.lock(conn)
            stored = await self._compare(conn, proven)
            if any(each not in absent for each in stored.diff.unlisted(proven.listed)):
                raise HistoryNotIndexed("the vault has changed while its history was read")
            entries = await _correct(conn, proven, stored)
        for entry in entries:
            self.metrics.reconciliation.differences.labels(field=entry.field, healed="true").inc()
            log.error("history_corrected", owner=owner, field=entry.field, cause=entry.cause)
        return len(entries)

    async def _compare(self, conn: Connection, proven: VaultHistory) -> StoredHistory:
        """Return what is stored, and how it differs. Raises HistoryNotIndexed."""
        reached = (await cursors.frontier(conn, str(self.programs.vault))).slot
        if reached is None or reached < proven.through:
            raise HistoryNotIndexed(f"slot {proven.through} is not indexed yet")
        lines = await history.in_order(conn, proven.owner)
        signatures = {row.signature for row in proven.events} | {line.signature for line in lines}
        events = await chain_events.of_vault(conn, proven.address, sorted(signatures))
        diff = diff_history(proven, events, lines, reached=Slot(reached))
        return StoredHistory(Slot(reached), events, diff)

    async def rewrite_balances(self, owner: str) -> None:
        """Rewrite the owner's balance history from the history lines."""
        async with self.database.transaction() as conn:
            await cursors.lock(conn)
            await _rewrite_balances(conn, owner)


async def _correct(
    conn: Connection, proven: VaultHistory, stored: StoredHistory
) -> list[ReconciliationEntry]:
    diff = stored.diff
    entries = [change.entry(proven) for change in diff.events]
    entries += [change.entry(proven) for change in diff.lines]
    await _apply_diff(conn, diff)
    entries += await _correct_offsets(conn, proven, stored.events, stored.reached)
    await _store_mint(conn, proven)
    await _rewrite_balances(conn, proven.owner)
    for entry in entries:
        await reconciliation_log.log(conn, entry)
    if entries:
        await audit_log.record(
            conn,
            actor="reconciler",
            action="history_corrected",
            owner=proven.owner,
            outcome="ok",
            details={
                "vault": proven.address,
                "slot": proven.through,
                "corrections": [entry.cause for entry in entries[:100]],
                "count": len(entries),
            },
        )
    await append_late_messages(conn, proven, diff)
    return entries


async def _apply_diff(conn: Connection, diff: HistoryDiff) -> None:
    """Remove and add events and lines, and update the aggregates."""
    remove_events = [each.stored for each in diff.events if each.stored]
    add_events = [each.chain for each in diff.events if each.chain]
    await chain_events.remove(conn, remove_events)
    await chain_events.record(conn, add_events)
    # A line is counted together with its event. A line that changes alone may have been counted
    # before: the event of a transfer comes with the first of its two vaults that is corrected.
    with_event = {row.identity for row in (*remove_events, *add_events)}
    changed = [(each.stored, each.chain) for each in diff.lines]
    removed = [line for line, _ in changed if line and line.identity in with_event]
    added = [line for _, line in changed if line and line.identity in with_event]
    await history.remove(conn, diff.remove_lines)
    await history.add(conn, diff.add_lines)
    await aggregates.uncount(conn, removed)
    await aggregates.count(conn, added)
    for line in removed:
        await event_counters.subtract(conn, line.kind, 1, line.amount)
    for line in added:
        await event_counters.add(conn, line.kind, 1, line.amount)
    if any(row.identity not in with_event for pair in changed for row in pair if row):
        await aggregate_check.count_flows(conn)


async def _correct_offsets(
    conn: Connection, proven: VaultHistory, events: Sequence[EventRow], reached: Slot
) -> list[ReconciliationEntry]:
    """Set the offsets to those as of `through`, unless a later event may have changed them."""
    later = [row.name for row in events if proven.through < row.slot <= reached]
    row = await account_offsets.offset(conn, proven.owner)
    before = (row["deposited"], row["withdrawn"]) if row else (0, 0)
    now = proven.deposited_offset, proven.withdrawn_offset
    if before == now or OFFSET_EVENTS.intersection(later) or (later and not proven.ours):
        return []
    offset = {"owner": proven.owner, "deposited": now[0], "withdrawn": now[1]}
    await account_offsets.restore(conn, proven.owner, offset)
    names = ("offset_deposited", "offset_withdrawn")
    return [
        reconciliation_log.entry(
            vault=proven.address,
            owner=proven.owner,
            field=name,
            expected=expected,
            actual=actual,
            chain_slot=proven.through,
            healed=True,
            cause="the offset of the vault's earlier accounts differs from their events",
        )
        for name, expected, actual in zip(names, now, before, strict=True)
        if expected != actual
    ]


async def _store_mint(conn: Connection, proven: VaultHistory) -> None:
    """Store the vault's mint if none is; a stored one may be of a later event, not final yet."""
    if proven.events and not await vault_mints.read(conn, [proven.address]):
        await vault_mints.put(conn, [VaultMint(proven.address, proven.owner, proven.ours)])


async def _rewrite_balances(conn: Connection, owner: str) -> None:
    """Rewrite the balance history from all of the owner's lines."""
    lines = await history.in_order(conn, owner)
    await balance_history.rewrite(conn, owner, running_balances(lines))
    row = await vaults.get(conn, owner)
    if row is not None:
        await balance_history.begin(conn, [row])
