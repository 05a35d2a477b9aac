"""Reader of whole blocks, for slots in which the program has many transactions.

One `getBlock` takes the place of as many `getTransaction`. What a block lacks, and what a node does
not answer, is read one by one. A block that has more of the program's transactions than the list
shows that the list is not complete: then nothing of the slot is used until the list has them, for
two minutes. A list that never has them must not stop everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.responses import SignatureInfo, TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transaction_responses import Block, block_call
from cvms.chain.types import Commitment, Slot
from cvms.errors import ChainUnavailable, RpcError

log = structlog.get_logger(__name__)

DENSE = 32
"""Transactions in a slot from which on its block is read.

A block has a request of its own: a busy chain's has about 5 MB, which take 30 ms to decode.
"""
WORTHWHILE_SHARE = 0.25
"""Share of a block's transactions: below, the others take longer to transfer than is saved."""
FIRST_PAUSE_SECONDS = 5.0
MAX_PAUSE_SECONDS = 300.0
HOLD_SECONDS = 120.0
"""For a list to become complete: other endpoints are asked meanwhile."""

Records = dict[str, TransactionRecord | None]


@dataclass(slots=True)
class _Slot:
    """The succeeded transactions that are listed of a slot, and the time of its block.

    `whole`: the list shows all that the slot has, if it is complete.
    """

    block_time: int | None
    whole: bool
    signatures: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class BlockReader:
    """Reads the transactions of a gap from blocks. After a useless block it pauses."""

    rpc: RpcClient
    program: Pubkey
    dense: int = DENSE
    clock: Callable[[], float] = trio.current_time
    _slots: dict[Slot, _Slot] = field(default_factory=dict, init=False)
    _records: dict[Slot, Records] = field(default_factory=dict, init=False)
    _held_since: dict[Slot, float] = field(default_factory=dict, init=False)
    _pause_seconds: float = field(default=0.0, init=False)
    _paused_until: float = field(default=0.0, init=False)

    def begin(self, gap: Sequence[SignatureInfo], *, after: Slot | None, to_end: bool) -> None:
        """Begin with another gap. `after` is the cursor's slot.

        `to_end`: the list of transactions ended with those of the gap's last slot.
        """
        self._slots.clear()
        self._records.clear()
        cut = {after} if to_end else {after, gap[-1].slot}
        for info in gap:
            slot = self._slots.setdefault(info.slot, _Slot(info.block_time, info.slot not in cut))
            if info.err is None:
                slot.signatures.add(info.signature)

    async def read(self, infos: Sequence[SignatureInfo]) -> Records:
        """Return records by signature, as far as blocks were read; consecutive infos of the gap.

        None stands for a transaction that must wait, since the list lacks others of its slot.
        """
        for kept in (self._records, self._held_since):
            for slot in [slot for slot in kept if slot < infos[0].slot]:
                del kept[slot]
        slots = list(dict.fromkeys(info.slot for info in infos))
        dense = [each for each in slots if len(self._slots[each].signatures) >= self.dense]
        wanted = [each for each in dense if each not in self._records]
        for each in wanted:
            if self.clock() >= self._paused_until:
                await self._read_block(each)
        records: Records = {}
        for each in dense:
            records |= self._records.get(each, {})
        return records

    async def _read_block(self, slot: Slot) -> None:
        try:
            [answer] = await self.rpc.batch([block_call(slot, Commitment.CONFIRMED)])
            if isinstance(answer, RpcError):
                raise answer
            self._take(slot, answer)
        except (RpcError, ChainUnavailable) as error:
            self._pause(str(error), slot)

    def _take(self, slot: Slot, block: Block | None) -> None:
        """Keep the block's records. Raises RpcError if it does not show what it should."""
        listed = self._slots[slot]
        if block is None:
            return self._pause("no node has the block", slot)
        if listed.block_time not in (None, block.block_time):
            return self._pause("its time is not the listed one", slot)
        found, others = block.records(self.program, listed.signatures)
        records = {key: record for key, record in found.items() if record.err is None}
        if lacking := listed.signatures - records.keys():
            return self._pause(f"it lacks {min(lacking)}", slot)
        if others and listed.whole:
            held = self.clock() - self._held_since.setdefault(slot, self.clock())
            holding = held < HOLD_SECONDS
            first = min(others)
            log.error("list_not_complete", slot=slot, count=len(others), first=first, held=holding)
            if holding:
                self._records[slot] = dict.fromkeys(listed.signatures)
                return None
        self._records[slot] = dict(records)
        if len(records) < WORTHWHILE_SHARE * len(block.transactions):
            return self._pause("most of its transactions are of other programs", slot)
        self._pause_seconds = 0.0
        return None

    def _pause(self, reason: str, slot: Slot) -> None:
        seconds = max(FIRST_PAUSE_SECONDS, min(MAX_PAUSE_SECONDS, 2 * self._pause_seconds))
        self._pause_seconds, self._paused_until = seconds, self.clock() + seconds
        log.info("blocks_not_read", slot=slot, reason=reason, seconds=seconds)
