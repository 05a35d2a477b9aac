"""Reader of batches: consecutive transactions with their events and the vaults they touched."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import takewhile

from solders.pubkey import Pubkey

from cvms.chain.program.events.log_parser import LoggedEvent, ProgramLogs, parse_events
from cvms.chain.program.events.touched_vaults import (
    ClosedVault,
    OpenedVault,
    touched_vaults,
    vault_lifecycle,
)
from cvms.chain.rpc.responses import SignatureInfo, TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.nursery.indexing.block_reader import BlockReader
from cvms.nursery.ledger.entries import (
    RecordedEvent,
    event_data,
    event_vaults,
    transfer_details,
)
from cvms.nursery.ledger.vault_fetch import FetchedVault, fetch_vaults
from cvms.store.index.chain_events import EventRow

KNOWN_ACCOUNTS = 10_000
"""Accounts kept while one gap is read, about 40 MB."""


@dataclass(frozen=True, slots=True)
class ExecutedTransaction:
    """What a transaction did: the vaults it opened and closed, and its events, in order."""

    signature: str
    lifecycle: tuple[OpenedVault | ClosedVault, ...]
    events: tuple[RecordedEvent, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """Transactions, oldest first; what the successful ones did; and the vaults they touched.

    `mint` is the service's. `truncated` is set if the batch is a single transaction whose logs do
    not show all of its events.
    """

    mint: str
    signatures: tuple[SignatureInfo, ...]
    executed: tuple[ExecutedTransaction, ...]
    vaults: tuple[FetchedVault, ...]
    truncated: TransactionRecord | None = None


async def read_batch(
    rpc: RpcClient,
    programs: Programs,
    infos: Sequence[SignatureInfo],
    known: dict[Pubkey, FetchedVault],
    *,
    blocks: BlockReader | None = None,
) -> Batch:
    """Return the batch of `infos`, or of the first of them, as far as the node has them all.

    Those that `blocks` can read from whole blocks are not read one by one.

    A transaction whose logs do not show all of its events is a batch of its own. Accounts in
    `known` that were read in this slot or a later one are not read again; those read are added.
    """
    infos, records = await _records(rpc, infos, blocks)
    logs = {record.signature: parse_logs(record, programs) for record in records}
    truncated = {signature for signature, parsed in logs.items() if parsed.truncated}
    infos = tuple(takewhile(lambda i: i.signature not in truncated, infos)) or infos[:1]
    info_of = {info.signature: info for info in infos}
    records = [record for record in records if record.signature in info_of]
    executed: list[ExecutedTransaction] = []
    touched: dict[Pubkey, str] = {}
    for record in records:
        commitment = info_of[record.signature].commitment
        events = logs[record.signature].events
        executed.append(executed_transaction(record, events, programs, commitment))
        vaults = touched_vaults(record, programs)
        vaults |= {Pubkey.from_string(v) for e in events for v in event_vaults(e.event)}
        touched |= dict.fromkeys(vaults, record.signature)
    fetched = await _fetch(rpc, programs, touched, infos[-1].slot, known) if touched else []
    return Batch(
        mint=str(programs.mint),
        signatures=infos,
        executed=tuple(executed),
        vaults=tuple(fetched),
        truncated=records[0] if records and records[0].signature in truncated else None,
    )


async def _fetch(
    rpc: RpcClient,
    programs: Programs,
    touched: Mapping[Pubkey, str],
    slot: Slot,
    known: dict[Pubkey, FetchedVault],
) -> list[FetchedVault]:
    """Return the vaults that were touched, ordered by address."""
    fresh = {at: each for at in touched if (each := known.get(at)) and each.slot >= slot}
    missing = {at: by for at, by in touched.items() if at not in fresh}
    read = await fetch_vaults(rpc, programs, missing, at_least=slot)
    if len(known) > KNOWN_ACCOUNTS:
        known.clear()
    known |= {each.address: each for each in read}
    fetched = [*read, *(replace(fresh[at], signature=touched[at]) for at in fresh)]
    return sorted(fetched, key=lambda each: str(each.address))


async def _records(
    rpc: RpcClient, infos: Sequence[SignatureInfo], blocks: BlockReader | None
) -> tuple[tuple[SignatureInfo, ...], list[TransactionRecord]]:
    """Return the infos before the first whose transaction the node lacks, and their records."""
    executed = [info for info in infos if info.err is None]
    found = {} if blocks is None else await blocks.read(infos)
    others = [info.signature for info in executed if info.signature not in found]
    read = await rpc.get_transactions(others, commitment=Commitment.CONFIRMED)
    found |= dict(zip(others, read, strict=True))
    records = {
        info.signature: record
        for info in executed
        # In another block than listed, or with another result: of another fork.
        if (record := found[info.signature]) and record.slot == info.slot and record.err is None
    }
    known = tuple(takewhile(lambda info: info.err is not None or info.signature in records, infos))
    return known, [records[info.signature] for info in known if info.err is None]


def parse_logs(record: TransactionRecord, programs: Programs) -> ProgramLogs:
    """Return the events that a transaction's logs show."""
    return parse_events(
        record.logs or [], programs.vault, top_level_programs=record.top_level_programs
    )


def executed_transaction(
    record: TransactionRecord,
    events: Iterable[LoggedEvent],
    programs: Programs,
    commitment: Commitment,
    *,
    logged: Container[LoggedEvent] | None = None,
) -> ExecutedTransaction:
    """Return what a transaction did; events that are not in `logged` are marked as rebuilt."""
    events = list(events)
    recorded = []
    for number, each in enumerate(events, 1):
        rebuilt = logged is not None and each not in logged
        same = (other.event for other in events[number:] if _same_instruction(each, other))
        details = transfer_details(each.event, same)
        row = _row(record, commitment, each, rebuilt=rebuilt)
        if details is not None:
            row.data.update(caller=str(details.caller), from_locked=details.from_locked)
        recorded.append(RecordedEvent(each.event, row, details))
    lifecycle = tuple(vault_lifecycle(record, programs))
    return ExecutedTransaction(record.signature, lifecycle, tuple(recorded))


def _same_instruction(one: LoggedEvent, other: LoggedEvent) -> bool:
    return one.instruction_index == other.instruction_index


def _row(
    record: TransactionRecord, commitment: Commitment, logged: LoggedEvent, *, rebuilt: bool
) -> EventRow:
    event = logged.event
    seconds = record.block_time
    return EventRow(
        signature=record.signature,
        instruction_index=logged.instruction_index,
        ordinal=logged.ordinal,
        slot=record.slot,
        block_time=None if seconds is None else datetime.fromtimestamp(seconds, UTC),
        name=type(event).__name__,
        vault=next(iter(event_vaults(event)), None),
        owner=str(event.owner) if hasattr(event, "owner") else None,
        commitment=commitment,
        data=event_data(event) | ({"rebuilt": True} if rebuilt else {}),
    )
