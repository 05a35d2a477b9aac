"""A batch: some transactions next to each other, read from the chain and ready to be applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import takewhile

import structlog
from solders.pubkey import Pubkey

from cvms.chain.accounts import Vault, read_vault
from cvms.chain.answers import SignatureInfo, TransactionRecord
from cvms.chain.events import Event
from cvms.chain.logs import events_in
from cvms.chain.rpc import Rpc
from cvms.chain.touched import ClosedVault, OpenedVault, openings_and_closings, touched_vaults
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import DecodeError
from cvms.metrics import Metrics
from cvms.nursery.movements import event_data, event_owner, event_vaults
from cvms.store.events import EventRow

log = structlog.get_logger(__name__)

ACCOUNTS_PER_CALL = 100


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event and its row."""

    event: Event
    row: EventRow


@dataclass(frozen=True, slots=True)
class Executed:
    """What a transaction did: the vaults it opened and closed, and its events, in their order."""

    lives: tuple[OpenedVault | ClosedVault, ...]
    events: tuple[Recorded, ...]


@dataclass(frozen=True, slots=True)
class FetchedVault:
    """A vault's account as of `slot`, None when there is none; last touched by `signature`.

    `slot` may be later than the batch.
    """

    address: Pubkey
    vault: Vault | None
    slot: Slot
    signature: str


@dataclass(frozen=True, slots=True)
class Batch:
    """`passed`: the transactions, oldest first; what those that succeeded did; and the vaults they
    touched. `mint` is the one that counts.
    """

    mint: str
    passed: tuple[SignatureInfo, ...]
    executed: tuple[Executed, ...]
    vaults: tuple[FetchedVault, ...]


class BatchReader:
    """Reads batches. Only the chain is asked; nothing is written."""

    def __init__(self, *, rpc: Rpc, programs: Programs, metrics: Metrics) -> None:
        self._rpc = rpc
        self._programs = programs
        self._metrics = metrics

    async def read(self, infos: Sequence[SignatureInfo]) -> Batch:
        """The batch of `infos`, or of as many from the first on as the node has in full."""
        passed, records = await self._records(infos)
        executed: list[Executed] = []
        touched: dict[Pubkey, str] = {}
        for record in records:
            did = self._executed(record)
            executed.append(did)
            vaults = touched_vaults(record, self._programs)
            vaults |= {Pubkey.from_string(v) for e in did.events for v in event_vaults(e.event)}
            touched |= dict.fromkeys(vaults, record.signature)
        fetched = await self._fetch(touched, passed[-1].slot) if passed else []
        return Batch(str(self._programs.mint), passed, tuple(executed), tuple(fetched))

    async def _records(
        self, infos: Sequence[SignatureInfo]
    ) -> tuple[tuple[SignatureInfo, ...], list[TransactionRecord]]:
        """The infos before the first whose transaction the node cannot give yet, and theirs."""
        wanted = [info.signature for info in infos if info.err is None]
        found = await self._rpc.get_transactions(wanted, commitment=Commitment.CONFIRMED)
        records = dict(zip(wanted, found, strict=True))
        passed = tuple(takewhile(lambda info: records.get(info.signature, info) is not None, infos))
        complete = [records.get(info.signature) for info in passed]
        return passed, [record for record in complete if record is not None]

    def _executed(self, record: TransactionRecord) -> Executed:
        found = events_in(
            record.logs or [], self._programs.vault, top_level_programs=record.top_level_programs
        )
        if found.truncated:
            # The vaults' rows stay right, since they follow the accounts; the history may lack
            # lines, which the reconciler will find.
            self._metrics.unread_logs.inc()
            log.error("logs_not_readable", signature=record.signature, problem=found.problem)
        return Executed(
            tuple(openings_and_closings(record, self._programs)),
            tuple(
                Recorded(
                    each.event, event_row(record, each.instruction_index, each.ordinal, each.event)
                )
                for each in found.events
            ),
        )

    async def _fetch(self, touched: dict[Pubkey, str], at_least: Slot) -> list[FetchedVault]:
        fetched: list[FetchedVault] = []
        # In one order everywhere, so that two writers of the same rows cannot wait for each other.
        addresses = sorted(touched, key=str)
        for first in range(0, len(addresses), ACCOUNTS_PER_CALL):
            chunk = addresses[first : first + ACCOUNTS_PER_CALL]
            found = await self._rpc.get_accounts(
                chunk, commitment=Commitment.CONFIRMED, min_context_slot=at_least
            )
            for address, account in zip(chunk, found.accounts, strict=True):
                try:
                    vault = read_vault(account, self._programs)
                except DecodeError as error:
                    # Someone may pass any account to an instruction that does not look at it.
                    log.error("not_a_vault", address=str(address), problem=str(error))
                    continue
                fetched.append(FetchedVault(address, vault, found.slot, touched[address]))
        return fetched


def event_row(
    record: TransactionRecord, instruction_index: int, ordinal: int, event: Event
) -> EventRow:
    """An event as it is recorded."""
    seconds = record.block_time
    return EventRow(
        signature=record.signature,
        instruction_index=instruction_index,
        ordinal=ordinal,
        slot=record.slot,
        block_time=None if seconds is None else datetime.fromtimestamp(seconds, UTC),
        name=type(event).__name__,
        vault=next(iter(event_vaults(event)), None),
        owner=event_owner(event),
        commitment=Commitment.CONFIRMED,
        data=event_data(event),
    )
