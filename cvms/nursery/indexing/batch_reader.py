"""A batch: some transactions next to each other, read from the chain and ready to be applied."""

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
from cvms.chain.types import Commitment, Programs
from cvms.metrics import Metrics
from cvms.nursery.ledger.entries import RecordedEvent, event_data, event_owner, event_vaults
from cvms.nursery.ledger.vault_fetch import FetchedVault, fetch_vaults
from cvms.store.index.chain_events import EventRow

KNOWN_ACCOUNTS = 10_000
"""Accounts remembered while one gap is read, about 40 MB of them."""


@dataclass(frozen=True, slots=True)
class ExecutedTransaction:
    """What a transaction did: the vaults it opened and closed, and its events, in their order."""

    signature: str
    lifecycle: tuple[OpenedVault | ClosedVault, ...]
    events: tuple[RecordedEvent, ...]


@dataclass(frozen=True, slots=True)
class Batch:
    """`passed`: the transactions, oldest first; what those that succeeded did; and the vaults they
    touched. `mint` is the one that counts. `unread` is the last transaction if its logs do not show
    all of its events; it is alone then.
    """

    mint: str
    signatures: tuple[SignatureInfo, ...]
    executed: tuple[ExecutedTransaction, ...]
    vaults: tuple[FetchedVault, ...]
    truncated: TransactionRecord | None = None


class BatchReader:
    """Reads batches. Only the chain is asked; nothing is written."""

    def __init__(self, *, rpc: RpcClient, programs: Programs, metrics: Metrics) -> None:
        self._rpc = rpc
        self._programs = programs
        self._metrics = metrics

    async def read(
        self, infos: Sequence[SignatureInfo], known: dict[Pubkey, FetchedVault] | None = None
    ) -> Batch:
        """The batch of `infos`, or of as many from the first on as the node has in full.

        A transaction with logs that do not show all its events is a batch of its own. Accounts in
        `known` that were read in later slots are not read again; those that are read are added.
        """
        passed, records = await self._records(infos)
        logs = {record.signature: self._logs(record) for record in records}
        unread = {signature for signature, found in logs.items() if found.truncated}
        whole = tuple(takewhile(lambda info: info.signature not in unread, passed))
        passed = whole or passed[:1]
        kept = {info.signature: info for info in passed}
        records = [record for record in records if record.signature in kept]
        executed: list[ExecutedTransaction] = []
        touched: dict[Pubkey, str] = {}
        for record in records:
            info, found = kept[record.signature], logs[record.signature]
            did = executed_transaction(record, found.events, self._programs, info.commitment)
            executed.append(did)
            vaults = touched_vaults(record, self._programs)
            vaults |= {Pubkey.from_string(v) for e in did.events for v in event_vaults(e.event)}
            touched |= dict.fromkeys(vaults, record.signature)
        fetched = await self._fetch(touched, passed, {} if known is None else known)
        return Batch(
            mint=str(self._programs.mint),
            signatures=passed,
            executed=tuple(executed),
            vaults=tuple(fetched),
            truncated=records[0] if records and records[0].signature in unread else None,
        )

    async def _fetch(
        self,
        touched: Mapping[Pubkey, str],
        passed: Sequence[SignatureInfo],
        known: dict[Pubkey, FetchedVault],
    ) -> list[FetchedVault]:
        """The vaults in the order of their addresses; all `touched` of which there are any."""
        if not touched:
            return []
        slot = passed[-1].slot
        fresh = {at: each for at in touched if (each := known.get(at)) and each.slot >= slot}
        missing = {at: by for at, by in touched.items() if at not in fresh}
        read = await fetch_vaults(self._rpc, self._programs, missing, at_least=slot)
        if len(known) > KNOWN_ACCOUNTS:
            known.clear()
        known |= {each.address: each for each in read}
        fetched = [*read, *(replace(fresh[at], signature=touched[at]) for at in fresh)]
        return sorted(fetched, key=lambda each: str(each.address))

    async def _records(
        self, infos: Sequence[SignatureInfo]
    ) -> tuple[tuple[SignatureInfo, ...], list[TransactionRecord]]:
        """The infos before the first whose transaction the node cannot give yet, and theirs."""
        executed = [info for info in infos if info.err is None]
        found = await self._rpc.get_transactions(
            [info.signature for info in executed], commitment=Commitment.CONFIRMED
        )
        records = {
            info.signature: record
            for info, record in zip(executed, found, strict=True)
            # In another block than the one listed, or with another end: of a fork. Look again.
            if record is not None and record.slot == info.slot and record.err is None
        }
        passed = tuple(
            takewhile(lambda info: info.err is not None or info.signature in records, infos)
        )
        return passed, [records[info.signature] for info in passed if info.err is None]

    def _logs(self, record: TransactionRecord) -> ProgramLogs:
        return parse_events(
            record.logs or [], self._programs.vault, top_level_programs=record.top_level_programs
        )


def executed_transaction(
    record: TransactionRecord,
    events: Iterable[LoggedEvent],
    programs: Programs,
    commitment: Commitment,
    *,
    logged: Container[LoggedEvent] | None = None,
) -> ExecutedTransaction:
    """What a transaction did; its events that are not among `logged` are rebuilt."""
    return ExecutedTransaction(
        record.signature,
        tuple(vault_lifecycle(record, programs)),
        tuple(
            RecordedEvent(
                each.event,
                _row(record, commitment, each, rebuilt=logged is not None and each not in logged),
            )
            for each in events
        ),
    )


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
        owner=event_owner(event),
        commitment=commitment,
        data=event_data(event) | ({"rebuilt": True} if rebuilt else {}),
    )
