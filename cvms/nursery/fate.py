"""What a node's answer means for a transaction that was sent: decided on plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cvms.chain.answers import SignatureStatus
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.store.submissions import State, Submission


@dataclass(frozen=True, slots=True)
class Heights:
    """The chain's block heights, read before the statuses they are judged with."""

    confirmed: BlockHeight
    finalized: BlockHeight


@dataclass(frozen=True, slots=True)
class Fate:
    """`state` is the new one, None for no change; `may_land`: sending may still help."""

    state: State | None = None
    may_land: bool = False
    slot: Slot | None = None
    err: Any = None


def fate_of(row: Submission, status: SignatureStatus | None, heights: Heights) -> Fate:
    """The fate of a submission whose signature has this status.

    It counts as expired only when no block can hold it on any fork: when the last height at which
    it could land is finalized, and it is in none of the blocks up to there.
    """
    if status is None:
        return _unknown(row, heights)
    if status.commitment is Commitment.PROCESSED:
        return Fate()  # it may still be on the losing side of a fork
    if status.err is not None:
        return Fate(State.FAILED, slot=status.slot, err=status.err)
    if status.commitment is Commitment.FINALIZED:
        return Fate(State.FINALIZED, slot=status.slot)
    return Fate(State.CONFIRMED if row.state is not State.CONFIRMED else None, slot=status.slot)


def _unknown(row: Submission, heights: Heights) -> Fate:
    if heights.finalized > row.last_valid_block_height:
        # Seen in a confirmed block once, and now in none: a person has to look.
        seen = row.state is State.CONFIRMED
        return Fate(State.QUARANTINED if seen else State.EXPIRED)
    return Fate(may_land=heights.confirmed <= row.last_valid_block_height)
