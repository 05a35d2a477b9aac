"""Give a transaction whose logs were cut its events back, from its instructions and the books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.events.log_parser import parse_events
from cvms.chain.program.events.replay import ReplayedVault, replay_events
from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.types import Programs
from cvms.errors import NotRebuilt
from cvms.metrics import Metrics
from cvms.nursery.indexing.batch_reader import Batch, executed_transaction
from cvms.nursery.ledger.running_balances import apply_entry, zero_balance
from cvms.store.index import vault_mints
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import balance_history, history, open_timelocks

log = structlog.get_logger(__name__)


class EventReconstructor:
    """Rebuilds one transaction at a time, before it is applied and after all those before it."""

    def __init__(self, *, database: Database, programs: Programs, metrics: Metrics) -> None:
        self._database = database
        self._programs = programs
        self._metrics = metrics

    async def reconstruct(self, batch: Batch, record: TransactionRecord) -> Batch:
        """The batch of this one transaction with all of its events, or as it is if that cannot be.

        The vaults' rows follow the accounts either way; what the history lacks then, the reconciler
        finds.
        """
        found = parse_events(
            record.logs or [], self._programs.vault, top_level_programs=record.top_level_programs
        )
        before = await self._before(batch, record)
        try:
            events = replay_events(record, self._programs.vault, before=before, logged=found.events)
        except NotRebuilt as error:
            self._metrics.unread_logs.inc()
            problem = f"{found.problem}; {error}"
            log.error("logs_not_readable", signature=record.signature, problem=problem)
            return batch
        self._metrics.rebuilt_logs.inc()
        log.warning("logs_rebuilt", signature=record.signature, problem=found.problem)
        [info] = batch.signatures
        did = executed_transaction(
            record, events, self._programs, info.commitment, logged=frozenset(found.events)
        )
        return replace(batch, executed=(did,))

    async def _before(
        self, batch: Batch, record: TransactionRecord
    ) -> Mapping[Pubkey, ReplayedVault]:
        """What the transaction's vaults held before it, as of the cursor."""
        addresses = [str(each.address) for each in batch.vaults]
        async with self._database.connection() as conn:
            mints = await vault_mints.read(conn, addresses)
            held = {
                Pubkey.from_string(each.vault): await _held(conn, each, record.slot)
                for each in mints
            }
        return {
            each.address: ReplayedVault(each.vault.owner, None)
            for each in batch.vaults
            if each.vault
        } | held


async def _held(conn: Connection, mint: VaultMint, slot: int) -> ReplayedVault:
    """What a vault held after all that is applied; no amounts where the books do not follow it."""
    owner = Pubkey.from_string(mint.owner)
    if not mint.ours:
        return ReplayedVault(owner, None)
    entries = tuple(
        TimelockEntry(each.amount, each.unlock_time)
        for each in await open_timelocks.open_timelocks(conn, mint.owner)
    )
    # An account that was read in this very slot counts this transaction already, so from there on
    # only the lines do.
    point = await balance_history.at(conn, mint.owner, slot - 1)
    for line in await history.of_slot(conn, mint.owner, slot):
        point = apply_entry(point or zero_balance(line), line)
    if point is None:
        return ReplayedVault(owner, (0, 0, 0, 0), entries)
    return ReplayedVault(
        owner, (point.total, point.available, point.locked, point.yield_deposited), entries
    )
