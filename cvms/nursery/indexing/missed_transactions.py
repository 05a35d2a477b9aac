"""Second reading of the program's list, for transactions that were left out of the first one.

A list without one of its entries cannot be told from a complete one, and the cursor has passed the
entry when another reading shows it. What it did to our vaults is then read from their own lists;
events of other vaults and of the authority change nothing but the record of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import GapNotClosed
from cvms.nursery.indexing.apply_batch import apply_foreign_events
from cvms.nursery.indexing.batch_reader import Batch, read_batch
from cvms.store.index import chain_events
from cvms.store.index import cursor as cursors
from cvms.store.postgres.database import Database

log = structlog.get_logger(__name__)

OVERLAP_SLOTS = 1_500
"""About ten minutes, which are read again each time: a node may go on leaving out for a while."""
TRANSACTIONS_PER_CALL = 100
MAX_EVENTLESS = 10_000
"""Transactions without events that are remembered, so as not to be read again."""
MAX_UNREADABLE = 20
"""Unreadable transactions that are skipped in one run. Each costs another call for its page."""


@dataclass(slots=True)
class FoundTransactions:
    """The vaults of ours that missed transactions concern, by owner, and those not readable."""

    owners: dict[str, str] = field(default_factory=dict)
    unreadable: list[SignatureInfo] = field(default_factory=list)

    @property
    def problem(self) -> GapNotClosed | None:
        """Return why the check is not complete, if it is not."""
        if not self.unreadable:
            return None
        first = self.unreadable[0]
        return GapNotClosed(
            f"no node has the transaction {first.signature} of slot {first.slot}, which is listed "
            "and not recorded"
        )


@dataclass(slots=True, kw_only=True, eq=False)
class MissedTransactions:
    """Finds finalized transactions before the cursor that are not recorded."""

    database: Database
    rpc: RpcClient
    programs: Programs
    _verified: Slot | None = field(default=None, init=False)
    _eventless: set[str] = field(default_factory=set, init=False)

    async def find(self) -> FoundTransactions:
        """Find the vaults of ours that they concern; record the events of all others.

        The vaults have to be indexed again. Slots with an unreadable transaction are read again
        the next time. Raises RpcError, ChainUnavailable and GapNotClosed.
        """
        final = await self.rpc.get_slot(Commitment.FINALIZED)
        async with self.database.connection() as conn:
            cursor = await cursors.get(conn, str(self.programs.vault))
        if cursor is None:
            return FoundTransactions()
        end = min(final, Slot(cursor.slot - 1))
        start = (end if self._verified is None else self._verified) - OVERLAP_SLOTS
        get = partial(
            self.rpc.get_signatures_for_address,
            self.programs.vault,
            commitment=Commitment.FINALIZED,
            min_context_slot=final,
        )
        found = FoundTransactions()
        async for page in SignaturePages(get):
            listed = [info for info in page if start <= info.slot <= end and info.err is None]
            await self._apply(await self._missing(listed), found)
            if page[-1].slot < start or len(found.unreadable) > MAX_UNREADABLE:
                break
        if found.problem is None:
            self._verified = end
        return found

    async def _missing(self, listed: Sequence[SignatureInfo]) -> list[SignatureInfo]:
        """Return those of which no event is recorded, oldest first."""
        candidates = [info for info in listed if info.signature not in self._eventless]
        async with self.database.connection() as conn:
            known = await chain_events.recorded(conn, [info.signature for info in candidates])
        return [info for info in reversed(candidates) if info.signature not in known]

    async def _apply(self, missing: Sequence[SignatureInfo], found: FoundTransactions) -> None:
        """Apply the transactions that a node has, and add what comes of all of them to `found`."""
        left = list(missing)
        while left and len(found.unreadable) <= MAX_UNREADABLE:
            batch = await read_batch(self.rpc, self.programs, left[:TRANSACTIONS_PER_CALL], {})
            if batch.signatures:
                found.owners |= await self._apply_batch(batch)
                left = left[len(batch.signatures) :]
            else:
                found.unreadable.append(left.pop(0))

    async def _apply_batch(self, batch: Batch) -> dict[str, str]:
        with_events = {each.signature for each in batch.executed if each.events}
        if len(self._eventless) > MAX_EVENTLESS:
            self._eventless.clear()
        self._eventless.update({i.signature for i in batch.signatures} - with_events)
        if not with_events:
            return {}
        owners = await apply_foreign_events(self.database, batch)
        first = next(i for i in batch.signatures if i.signature in with_events)
        log.error(
            "transactions_missed",
            count=len(with_events),
            first=first.signature,
            slot=first.slot,
            owners=sorted(owners),
        )
        return owners
