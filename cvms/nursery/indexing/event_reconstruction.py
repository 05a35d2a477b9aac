"""Reconstruction of events that truncated logs lack, from instructions and stored balances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import structlog
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.addresses import guard_change_address
from cvms.chain.program.events.replay import ReplayedVault, replay_events
from cvms.chain.program.guard_changes import GuardChange, guard_change_of
from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.types import Programs
from cvms.errors import NotRebuilt
from cvms.metrics import Metrics
from cvms.nursery.indexing.batch_reader import Batch, executed_transaction, parse_logs
from cvms.nursery.ledger.running_balances import apply_entry, zero_balance
from cvms.store.index import chain_events, vault_mints
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import balance_history, history, open_timelocks

log = structlog.get_logger(__name__)


async def reconstruct(
    batch: Batch,
    record: TransactionRecord,
    *,
    database: Database,
    programs: Programs,
    metrics: Metrics,
) -> Batch:
    """Return the batch of this one transaction with all of its events, or unchanged on failure.

    All earlier transactions have to be applied. The vaults' rows follow the accounts in any case,
    and the reconciler finds what the history then lacks.
    """
    parsed = parse_logs(record, programs)
    before = await _states_before(database, batch, record)
    requested = await _requested_changes(database, record, programs)
    try:
        events = replay_events(
            record, programs.vault, before=before, logged=parsed.events, requested=requested
        )
    except NotRebuilt as error:
        metrics.indexing.unread_logs.inc()
        problem = f"{parsed.problem}; {error}"
        log.error("events_not_reconstructed", signature=record.signature, problem=problem)
        return batch
    metrics.indexing.rebuilt_logs.inc()
    log.warning("events_reconstructed", signature=record.signature, problem=parsed.problem)
    [info] = batch.signatures
    executed = executed_transaction(
        record, events, programs, info.commitment, logged=frozenset(parsed.events)
    )
    return replace(batch, executed=(executed,))


async def _states_before(
    database: Database, batch: Batch, record: TransactionRecord
) -> Mapping[Pubkey, ReplayedVault]:
    """Return the state of the transaction's vaults before it, as of the cursor."""
    addresses = [str(each.address) for each in batch.vaults]
    async with database.connection() as conn:
        stored = {
            Pubkey.from_string(each.vault): await _stored_state(conn, each, record.slot)
            for each in await vault_mints.read(conn, addresses)
        }
    return {
        each.address: ReplayedVault(each.vault.owner, None) for each in batch.vaults if each.vault
    } | stored


async def _requested_changes(
    database: Database, record: TransactionRecord, programs: Programs
) -> Mapping[Pubkey, GuardChange]:
    """Return the changes of guards that were requested, by the addresses of their requests."""
    async with database.connection() as conn:
        found = await chain_events.requested_changes(conn, list(map(str, record.account_keys)))
    changes = [(Pubkey.from_string(vault), guard_change_of(data)) for vault, data in found]
    return {
        guard_change_address(programs.vault, vault, change): change for vault, change in changes
    }


async def _stored_state(conn: Connection, mint: VaultMint, slot: int) -> ReplayedVault:
    """Return a vault's state after all that is applied; no amounts if it is of another mint."""
    owner = Pubkey.from_string(mint.owner)
    if not mint.ours:
        return ReplayedVault(owner, None)
    entries = tuple(
        TimelockEntry(each.amount, each.unlock_time)
        for each in await open_timelocks.open_timelocks(conn, mint.vault)
    )
    delay = await chain_events.min_delay(conn, mint.vault)
    # An account that was read in this slot includes this transaction already, so within the slot
    # only the history lines count.
    point = await balance_history.at(conn, mint.owner, slot - 1)
    for line in await history.of_slot(conn, mint.owner, slot):
        point = apply_entry(point or zero_balance(line), line)
    if point is None:
        return ReplayedVault(owner, (0, 0, 0, 0), entries, delay)
    amounts = (point.total, point.available, point.locked, point.yield_deposited)
    return ReplayedVault(owner, amounts, entries, delay)
