"""Set one vault's history right from the chain: each correction is logged, and all are audited.

The indexer's cursor is locked meanwhile, so that nothing is applied between the comparison and the
corrections, and two replicas at it take turns: the second finds nothing left to do.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Programs, Slot
from cvms.errors import HistoryNotIndexed
from cvms.metrics import Metrics
from cvms.nursery.ledger.running_balances import running_balances
from cvms.nursery.reconciliation.chain_history import VaultHistory, read_proven_history
from cvms.nursery.reconciliation.history_diff import HistoryDiff, diff_history
from cvms.store.analytics import aggregates, event_counters
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

CHANGES_UNDER_CORRECTION = frozenset({"VaultClosedEvent", "UpdateUsdtMintEvent"})
"""Events that begin another life of a vault: its offsets wait until they are final."""


class Reindexer:
    """Reads a vault's finalized history and writes what the books have otherwise."""

    def __init__(
        self, *, database: Database, rpc: RpcClient, programs: Programs, metrics: Metrics
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._metrics = metrics

    async def reindex(self, address: Pubkey, owner: str) -> int:
        """Correct the owner's history; returns how many corrections it took.

        Raises HistoryNotProven when the chain cannot tell, and HistoryNotIndexed when it is to be
        asked again: nothing is changed then.
        """
        found = await read_proven_history(self._rpc, self._programs, address=address, owner=owner)
        async with self._database.transaction() as conn:
            await cursors.lock(conn)
            reached = (await cursors.frontier(conn, str(self._programs.vault))).slot
            if reached is None or reached < found.through:
                raise HistoryNotIndexed(f"slot {found.through} is not indexed yet")
            entries = await _correct(conn, found, Slot(reached))
        for entry in entries:
            self._metrics.reconciliation_differences.labels(field=entry.field, healed="true").inc()
            log.error("books_corrected", owner=owner, field=entry.field, cause=entry.cause)
        return len(entries)

    async def rewrite_balances(self, owner: str) -> None:
        """Write what the vault held anew from its history, which is right."""
        async with self._database.transaction() as conn:
            await cursors.lock(conn)
            await _rewrite_balances(conn, owner)


async def _correct(
    conn: Connection, found: VaultHistory, reached: Slot
) -> list[ReconciliationEntry]:
    lines = await history.in_order(conn, found.owner)
    signatures = {row.signature for row in found.events} | {line.signature for line in lines}
    known = await chain_events.of_vault(conn, found.address, sorted(signatures))
    to_do = diff_history(found, known, lines, reached=reached)
    entries = [change.entry(found) for change in to_do.changes]
    await _exchange(conn, to_do)
    entries += await _set_offsets(conn, found, known, reached)
    await _keep_mint(conn, found)
    await _rewrite_balances(conn, found.owner)
    for entry in entries:
        await reconciliation_log.log(conn, entry)
    if entries:
        await audit_log.record(
            conn,
            actor="reconciler",
            action="history_corrected",
            owner=found.owner,
            outcome="ok",
            details={
                "vault": found.address,
                "slot": found.through,
                "corrections": [entry.cause for entry in entries[:100]],
                "count": len(entries),
            },
        )
    return entries


async def _exchange(conn: Connection, to_do: HistoryDiff) -> None:
    """Events and lines, and whatever counts them."""
    await chain_events.remove(conn, to_do.remove_events)
    await chain_events.record(conn, to_do.add_events)
    # Only what came or went with its event was counted with it. A line alone was lost, or put in,
    # after its event had been counted; where that is not so, the census counts everything again.
    with_event = {row.identity for row in (*to_do.remove_events, *to_do.add_events)}
    gone = [line for line in to_do.removed if line.identity in with_event]
    new = [line for line in to_do.added if line.identity in with_event]
    await history.remove(conn, to_do.remove_lines)
    await history.add(conn, to_do.add_lines)
    await aggregates.uncount(conn, gone)
    await aggregates.count(conn, new)
    for line in gone:
        await event_counters.subtract(conn, line.kind, 1, line.amount)
    for line in new:
        await event_counters.add(conn, line.kind, 1, line.amount)


async def _set_offsets(
    conn: Connection, found: VaultHistory, known: Sequence[EventRow], reached: Slot
) -> list[ReconciliationEntry]:
    """The offsets are as of `through`, unless another life of the vault has begun since."""
    later = [row.name for row in known if found.through < row.slot <= reached]
    row = await account_offsets.offset(conn, found.owner)
    before = (row["deposited"], row["withdrawn"]) if row else (0, 0)
    now = found.deposited_offset, found.withdrawn_offset
    if before == now or CHANGES_UNDER_CORRECTION.intersection(later) or (later and not found.ours):
        return []
    offset = {"owner": found.owner, "deposited": now[0], "withdrawn": now[1]}
    await account_offsets.restore(conn, found.owner, offset)
    names = ("offset_deposited", "offset_withdrawn")
    return [
        reconciliation_log.entry(
            vault=found.address,
            owner=found.owner,
            field=name,
            expected=expected,
            actual=actual,
            chain_slot=found.through,
            healed=True,
            cause="what earlier accounts of the vault counted is not what its events say",
        )
        for name, expected, actual in zip(names, now, before, strict=True)
        if expected != actual
    ]


async def _keep_mint(conn: Connection, found: VaultHistory) -> None:
    """Only where nothing is known: what is, may be of an event that is not final yet."""
    if found.events and not await vault_mints.read(conn, [found.address]):
        await vault_mints.put(conn, [VaultMint(found.address, found.owner, found.ours)])


async def _rewrite_balances(conn: Connection, owner: str) -> None:
    """What the vault held, from all of its lines."""
    lines = await history.in_order(conn, owner)
    await balance_history.rewrite(conn, owner, running_balances(lines))
    row = await vaults.get(conn, owner)
    if row is not None:
        await balance_history.begin(conn, [row])
