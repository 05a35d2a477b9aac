"""What a node's answer means for a transaction that was sent: decided on plain values.

An end is certain or it is none. It has succeeded or failed once its block is final; it has expired
once every block that could hold it is final and none does. Until then a fork may undo what was
seen, and what was seen is taken back. Only what no node can tell any more is for a person.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cvms.chain.rpc.chain_tips import Tips
from cvms.chain.rpc.responses import SignatureStatus
from cvms.chain.types import Commitment
from cvms.store.submissions.in_flight import InFlight
from cvms.store.submissions.submissions import State

QUARANTINE_AFTER_BLOCKS = 900
"""How far beyond its last block an end may stay unknown, about six minutes: until then another
endpoint may answer that has the blocks."""


@dataclass(frozen=True, slots=True)
class Transition:
    """`state` is the new one, None for no change; `may_land`: sending may still help.

    `slot` and `err` belong to the new state. `disputed`: it was seen in a block once and is in none
    now, so that block is to be looked at before it counts as expired.
    """

    state: State | None = None
    may_land: bool = False
    slot: int | None = None
    err: Any = None
    disputed: bool = False


def next_transition(
    row: InFlight, status: SignatureStatus | None, *, up_to_date: bool, tips: Tips
) -> Transition:
    """The fate of a submission of this status.

    `tips` were read before it; `certain`: it comes from nodes that have all that these tell of.
    """
    may_land = tips.confirmed.height <= row.last_valid_block_height
    if status is not None and status.commitment is Commitment.FINALIZED:
        return _final(status)
    if not up_to_date:
        return Transition(may_land=may_land)  # the nodes are behind: they may miss what others have
    if status is None:
        return _absent(row, tips, may_land=may_land)
    if status.commitment is Commitment.PROCESSED:
        # It may be on the losing side of a fork, and so is no landing; but it is a retreat from
        # another block.
        return (
            _back_to_submitted(row, may_land=may_land) if row.slot != status.slot else Transition()
        )
    return _confirmed(row, status)


def _final(status: SignatureStatus) -> Transition:
    state = State.FINALIZED if status.err is None else State.FAILED
    return Transition(state, slot=status.slot, err=status.err)


def _confirmed(row: InFlight, status: SignatureStatus) -> Transition:
    # A failure is written down as what it is so far: on another fork it may succeed.
    state = State.CONFIRMED if status.err is None else State.SUBMITTED
    if (state, status.slot) == (row.state, row.slot):
        return Transition()
    return Transition(state, slot=status.slot, err=status.err)


def _absent(row: InFlight, tips: Tips, *, may_land: bool) -> Transition:
    last = row.last_valid_block_height
    if tips.finalized.height <= last:
        return _back_to_submitted(row, may_land=may_land)
    if tips.retains(row.since_slot):
        return Transition(State.EXPIRED, disputed=row.seen_slot is not None)
    if tips.finalized.height > last + QUARANTINE_AFTER_BLOCKS:
        return Transition(State.QUARANTINED, slot=row.slot)
    return Transition()


def resolve_disputed(row: InFlight, tips: Tips, *, in_block: bool | None) -> Transition:
    """The fate of one that is in no final block as its status says, but was seen in one: `held` is
    what that block says, None where it is not to be had.
    """
    if in_block is False:
        return Transition(State.EXPIRED)
    if tips.finalized.height > row.last_valid_block_height + QUARANTINE_AFTER_BLOCKS:
        return Transition(State.QUARANTINED, slot=row.slot)
    return Transition()


def _back_to_submitted(row: InFlight, *, may_land: bool) -> Transition:
    """Back from the block in which it was: sent, and in none."""
    if row.slot is None and row.state is not State.CONFIRMED:
        return Transition(may_land=may_land)
    return Transition(State.SUBMITTED, may_land=may_land)
