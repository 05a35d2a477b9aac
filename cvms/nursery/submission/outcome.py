"""State transitions of a submission, decided from plain values.

A submission reaches a terminal state only when the evidence is final: `finalized` or `failed` once
its block is finalized, `expired` once it is proven that no finalized block contains it. Until then
a fork may undo what was seen, and the submission goes back to `submitted`. What cannot be proven is
quarantined for an operator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cvms.chain.rpc.evidence.chain_tips import Tips
from cvms.chain.rpc.responses import SignatureStatus
from cvms.chain.types import Commitment
from cvms.store.submissions.in_flight import InFlight
from cvms.store.submissions.submissions import State

QUARANTINE_AFTER_BLOCKS = 900
"""Blocks after its last valid one, about six minutes, during which an undecidable submission waits
for an endpoint that has all of its blocks."""


@dataclass(frozen=True, slots=True)
class Transition:
    """The next state of a submission, None for no change, and whether to send it again.

    `may_land`: its blockhash is still valid. `slot` and `err` belong to the new state, and so does
    `landed_signature`, under which the same message landed if it is not the submission's own.
    `absent`: every block that could contain it is finalized, and no node knows it; it has expired
    if that can be proven.
    """

    state: State | None = None
    may_land: bool = False
    slot: int | None = None
    err: Any = None
    landed_signature: str | None = None
    absent: bool = False


def next_transition(
    row: InFlight, status: SignatureStatus | None, *, up_to_date: bool, tips: Tips
) -> Transition:
    """Return the transition of a submission that has this status.

    `tips` were read before the status. `up_to_date`: the nodes that gave it had reached `tips`.
    """
    may_land = tips.confirmed.height <= row.last_valid_block_height
    if status is not None and status.commitment is Commitment.FINALIZED:
        state = State.FINALIZED if status.err is None else State.FAILED
        return Transition(state, slot=status.slot, err=status.err)
    if not up_to_date:
        return Transition(may_land=may_land)  # nodes that are behind may lack its block
    if status is None:
        return _absent(row, tips, may_land=may_land)
    if status.commitment is Commitment.PROCESSED:
        # Its block may lose to a fork, so it has not landed; but it has left any other block.
        left_its_block = row.slot != status.slot
        return _back_to_submitted(row, may_land=may_land) if left_its_block else Transition()
    return _confirmed(row, status)


def _confirmed(row: InFlight, status: SignatureStatus) -> Transition:
    # A failure is recorded but not terminal yet: on another fork the transaction may succeed.
    state = State.CONFIRMED if status.err is None else State.SUBMITTED
    if (state, status.slot) == (row.state, row.slot):
        return Transition()
    return Transition(state, slot=status.slot, err=status.err)


def _absent(row: InFlight, tips: Tips, *, may_land: bool) -> Transition:
    if tips.finalized.height <= row.last_valid_block_height:
        return _back_to_submitted(row, may_land=may_land)
    return Transition(absent=True)


def unproven(row: InFlight, tips: Tips) -> Transition:
    """Return the transition of an absent submission that may be in a block all the same."""
    if tips.finalized.height > row.last_valid_block_height + QUARANTINE_AFTER_BLOCKS:
        return Transition(State.QUARANTINED, slot=row.slot)
    return Transition()


def _back_to_submitted(row: InFlight, *, may_land: bool) -> Transition:
    """Return the transition of a submission that has left its block and now is in none."""
    if row.slot is None and row.state is not State.CONFIRMED:
        return Transition(may_land=may_land)
    return Transition(State.SUBMITTED, may_land=may_land)
