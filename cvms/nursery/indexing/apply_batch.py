"""Application of a batch: history, vaults, counters, outbox and cursor in one transaction.

The cursor is locked first, which serializes all processes that apply, and an event that is recorded
already has no effect again. Undo records of what a fork may roll back are saved on the way; see
nursery/indexing/fork_rollback.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from cvms.chain.program.events.events import VaultClosedEvent
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.types import Commitment
from cvms.nursery.channels.reconcile_requests import Owners
from cvms.nursery.indexing.batch_reader import Batch
from cvms.nursery.ledger.entries import (
    LedgerEntry,
    RecordedEvent,
    counted_by_account,
    event_vaults,
    history_row,
)
from cvms.nursery.ledger.mint_tracker import MintTracker
from cvms.nursery.ledger.outbox_messages import Cause, event_message, vault_messages
from cvms.nursery.ledger.running_balances import extend_running_balances
from cvms.nursery.ledger.vault_rows import (
    closed_vault_row,
    same_account,
    vault_row_at,
)
from cvms.store.analytics import aggregates, event_counters
from cvms.store.index import applied_transactions, chain_events, vault_mints
from cvms.store.index import cursor as cursors
from cvms.store.index.applied_transactions import AppliedTransaction, UndoRecord
from cvms.store.index.cursor import Cursor
from cvms.store.index.vault_mints import VaultMint
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection import vault_writer
from cvms.store.vaults import account_offsets, balance_history, history, vaults
from cvms.store.vaults.history import HistoryRow
from cvms.store.vaults.vaults import VaultRow


async def apply_batch(
    database: Database, batch: Batch, *, after: Cursor | None, to: Cursor
) -> Owners | None:
    """Apply the transactions between the cursors `after` and `to`; return the owners concerned.

    Return None, having written nothing, if another process has moved the cursor from `after`.
    """
    async with database.transaction() as conn:
        await cursors.lock(conn)
        if await cursors.get(conn, to.program) != after or not await cursors.advance(conn, to):
            return None
        await applied_transactions.add(conn, list(map(_applied_transaction, batch.signatures)))
        stored = await vault_mints.read(conn, [str(each.address) for each in batch.vaults])
        mints = MintTracker(batch.mint, stored, _mints_from_accounts(batch))
        owned_events = _owned_events(batch, mints)
        await applied_transactions.save_undo(conn, _mint_undo_records(mints))
        await vault_mints.put(conn, list(mints.changed.values()))
        rows = await _vault_rows(conn, batch, mints)
        messages = await _record_events(conn, owned_events)
        new_vaults = [
            (signature, UndoRecord("vault", row.owner, None))
            for before, row, signature in rows
            if before is None
        ]
        await applied_transactions.save_undo(conn, new_vaults)
        messages += await _store_vaults(conn, rows, _block_times(batch))
        await cursors.saw(conn, to.program, _newest_time(batch))
        await outbox.append(conn, messages)
    return sorted({row.owner for _, row, _ in rows})


async def apply_foreign_events(database: Database, batch: Batch) -> dict[str, str]:
    """Record the events of a batch before the cursor that concern no vault of ours.

    Return the other vaults, by owner: theirs have an effect, which depends on all of their history.
    """
    async with database.transaction() as conn:
        await cursors.lock(conn)
        stored = await vault_mints.read(conn, [str(each.address) for each in batch.vaults])
        present = _mints_from_accounts(batch)
        mints = MintTracker(batch.mint, stored, present)
        ours = {each.vault: each.owner for each in [*present, *stored] if each.ours}
        owned = _owned_events(batch, mints)
        for _, owner_of in owned:
            ours |= owner_of
        foreign = [
            (recorded, owner_of)
            for recorded, owner_of in owned
            if not ours.keys() & event_vaults(recorded.event)
        ]
        known = {each.vault for each in stored}
        await vault_mints.put(conn, [each for each in present if each.vault not in known])
        await _record_events(conn, foreign)
    return {owner: vault for vault, owner in ours.items()}


def _owned_events(
    batch: Batch, mints: MintTracker
) -> list[tuple[RecordedEvent, Mapping[str, str]]]:
    """Return the batch's events, each with the owners of its vaults that hold our mint then."""
    owned: list[tuple[RecordedEvent, Mapping[str, str]]] = []
    for executed in batch.executed:
        events = [recorded.event for recorded in executed.events]
        owners = mints.apply(executed.lifecycle, events, executed.signature)
        owned += zip(executed.events, owners, strict=True)
    return owned


def _applied_transaction(info: SignatureInfo) -> AppliedTransaction:
    final = info.commitment is Commitment.FINALIZED
    return AppliedTransaction(slot=info.slot, signature=info.signature, final=final)


def _mints_from_accounts(batch: Batch) -> list[VaultMint]:
    """Return the mints in the accounts, for vaults whose opening a node did not show."""
    return [
        VaultMint(str(each.address), str(each.vault.owner), str(each.vault.usdt_mint) == batch.mint)
        for each in batch.vaults
        if each.vault
    ]


def _mint_undo_records(mints: MintTracker) -> list[tuple[str, UndoRecord]]:
    return [
        (signature, UndoRecord("vault_mint", vault, None if mint is None else asdict(mint)))
        for signature, vault, mint in mints.before
    ]


async def _vault_rows(
    conn: Connection, batch: Batch, mints: MintTracker
) -> list[tuple[VaultRow | None, VaultRow, str]]:
    """Return for each tracked vault the stored row, the new one, and the last signature on it.

    Events of other vaults are recorded and have no effect, since their tokens may be worthless.
    """
    rows: list[tuple[VaultRow | None, VaultRow, str]] = []
    addresses = [str(each.address) for each in batch.vaults]
    stored = {row.vault: row for row in await vaults.get_by_vaults(conn, addresses)}
    for each in batch.vaults:
        known = before = stored.get(str(each.address))
        if known is None and (mint := mints.tracked.get(str(each.address))):
            known = closed_vault_row(mint.vault, mint.owner, each.slot, mint=batch.mint)
        row = vault_row_at(each.address, each.vault, each.slot, mint=batch.mint, before=known)
        if row is not None:
            rows.append((before, row, each.signature))
    return rows


async def _record_events(
    conn: Connection, owned: Sequence[tuple[RecordedEvent, Mapping[str, str]]]
) -> list[OutboxMessage]:
    """Store the events that are new and their effects; return the messages to publish."""
    new = {
        row.identity
        for row in await chain_events.record(conn, [recorded.row for recorded, _ in owned])
    }
    entries = [
        (recorded, recorded.entries(owner_of))
        for recorded, owner_of in owned
        if recorded.row.identity in new
    ]
    lines = await _write_history(conn, entries)
    await aggregates.count(conn, lines)
    await _write_balances(conn, lines)
    for kind in sorted({line.kind for line in lines}):
        amounts = [line.amount for line in lines if line.kind == kind]
        await event_counters.add(conn, kind, len(amounts), sum(amounts))
    data = {recorded.row.identity: recorded.row.data for recorded, _ in entries}
    return [event_message(line, data[line.identity]) for line in lines]


async def _write_history(
    conn: Connection, events: Sequence[tuple[RecordedEvent, Sequence[LedgerEntry]]]
) -> list[HistoryRow]:
    """Add the lines, and update the offsets between accounts' totals and their owners' history."""
    lines: list[HistoryRow] = []
    written = 0
    for recorded, entries in events:
        lines += [history_row(recorded, entry) for entry in entries]
        if isinstance(recorded.event, VaultClosedEvent):
            await history.add(conn, lines[written:])
            written = len(lines)
            await _save_offset(conn, recorded, str(recorded.event.owner))
            await account_offsets.reset(conn, str(recorded.event.owner))
        elif not entries and (counted := counted_by_account(recorded.event)):
            await _save_offset(conn, recorded, counted[0])
            await account_offsets.exclude(conn, *counted)
    await history.add(conn, lines[written:])
    return lines


async def _save_offset(conn: Connection, recorded: RecordedEvent, owner: str) -> None:
    before = UndoRecord("account_offset", owner, await account_offsets.offset(conn, owner))
    await applied_transactions.save_undo(conn, [(recorded.row.signature, before)])


async def _write_balances(conn: Connection, lines: Sequence[HistoryRow]) -> None:
    """Store each vault's balances after its lines, slot by slot."""
    first = {line.owner: line.slot for line in reversed(lines)}
    known = await balance_history.since(conn, first)
    await balance_history.put(conn, extend_running_balances(known, lines))


async def _store_vaults(
    conn: Connection,
    rows: Sequence[tuple[VaultRow | None, VaultRow, str]],
    times: Mapping[str, datetime],
) -> list[OutboxMessage]:
    """Store the rows; return a message for each. `times` has the blocks' by signature."""
    touched_by = {row.owner: Cause(signature, times.get(signature)) for _, row, signature in rows}
    new = [
        row
        for before, row, _ in rows
        if before is None or before.slot != row.slot or not same_account(before, row)
    ]
    stored = await vault_writer.advance(conn, new, final=False)
    return vault_messages(stored, touched_by)


def _newest_time(batch: Batch) -> datetime | None:
    return max(_block_times(batch).values(), default=None)


def _block_times(batch: Batch) -> dict[str, datetime]:
    """Return the times of the transactions' blocks by signature, as far as they are known."""
    return {
        info.signature: datetime.fromtimestamp(info.block_time, UTC)
        for info in batch.signatures
        if info.block_time is not None
    }
