"""The transitions of a submission for each status that a node may report."""

from __future__ import annotations

import pytest

from cvms.chain.rpc.evidence.chain_tips import Tip, Tips
from cvms.chain.rpc.responses import SignatureStatus
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.nursery.submission.outcome import (
    QUARANTINE_AFTER_BLOCKS,
    Transition,
    next_transition,
    unproven,
)
from cvms.store.submissions.in_flight import InFlight
from cvms.store.submissions.submissions import State

# Slots and heights differ on every real chain, since slots are skipped.
SKIPPED = 1000


def tip(height: int) -> Tip:
    return Tip(Slot(height + SKIPPED), BlockHeight(height))


def tips(*, finalized: int = 100) -> Tips:
    return Tips(tip(finalized + 10), tip(finalized))


TIPS = tips()


def status(commitment: Commitment, err: object = None, slot: int = 7) -> SignatureStatus:
    return SignatureStatus(Slot(slot), None, err, commitment)


def row(
    state: State, last_valid: int, *, slot: int | None = None, seen: int | None = None
) -> InFlight:
    return InFlight(
        signature="5ig",
        kind="deposit",
        owner="alice",
        state=state,
        last_valid_block_height=last_valid,
        amount=1,
        slot=slot,
        since_slot=last_valid - 150 + 2 * SKIPPED,
        seen_slot=slot if seen is None else seen,
        age=0.0,
    )


PROCESSED, CONFIRMED, FINALIZED = Commitment


@pytest.mark.parametrize(
    ("before", "seen", "expected"),
    [
        # Not found: sent while it may land, absent once every block that could contain it is final.
        (row(State.PENDING, 110), None, Transition(may_land=True)),
        (row(State.SUBMITTED, 109), None, Transition()),
        (row(State.SUBMITTED, 100), None, Transition()),
        (row(State.SUBMITTED, 99), None, Transition(absent=True)),
        # Seen before and absent now: back to submitted, and sent again.
        (row(State.CONFIRMED, 110, slot=7), None, Transition(State.SUBMITTED, may_land=True)),
        (row(State.CONFIRMED, 109, slot=7), None, Transition(State.SUBMITTED)),
        (row(State.SUBMITTED, 110, slot=7), None, Transition(State.SUBMITTED, may_land=True)),
        (row(State.CONFIRMED, 99, slot=7), None, Transition(absent=True)),
        (row(State.SUBMITTED, 99, seen=7), None, Transition(absent=True)),
        # Processed on a fork that may lose: it has not landed, and is sent again.
        (row(State.SUBMITTED, 110), status(PROCESSED), Transition(may_land=True)),
        (row(State.SUBMITTED, 110), status(PROCESSED, "boom"), Transition(may_land=True)),
        (row(State.SUBMITTED, 1), status(PROCESSED), Transition()),
        (row(State.CONFIRMED, 110, slot=7), status(PROCESSED), Transition()),
        (
            row(State.CONFIRMED, 110, slot=6),
            status(PROCESSED),
            Transition(State.SUBMITTED, may_land=True),
        ),
        # Confirmed: nothing to send, and nothing to record twice.
        (row(State.SUBMITTED, 110), status(CONFIRMED), Transition(State.CONFIRMED, slot=7)),
        (row(State.CONFIRMED, 110, slot=7), status(CONFIRMED), Transition()),
        (row(State.CONFIRMED, 110, slot=6), status(CONFIRMED), Transition(State.CONFIRMED, slot=7)),
        # Failed but not final: it may succeed on another fork.
        (
            row(State.SUBMITTED, 110),
            status(CONFIRMED, "boom"),
            Transition(State.SUBMITTED, slot=7, err="boom"),
        ),
        (row(State.SUBMITTED, 110, slot=7), status(CONFIRMED, "boom"), Transition()),
        (row(State.SUBMITTED, 110, slot=7), status(CONFIRMED), Transition(State.CONFIRMED, slot=7)),
        (
            row(State.CONFIRMED, 110, slot=6),
            status(CONFIRMED, "boom"),
            Transition(State.SUBMITTED, slot=7, err="boom"),
        ),
        # Final.
        (row(State.PENDING, 1), status(FINALIZED), Transition(State.FINALIZED, slot=7)),
        (row(State.CONFIRMED, 1, slot=6), status(FINALIZED), Transition(State.FINALIZED, slot=7)),
        (
            row(State.CONFIRMED, 1, slot=7),
            status(FINALIZED, "boom"),
            Transition(State.FAILED, slot=7, err="boom"),
        ),
    ],
)
def test_the_transition_of(
    before: InFlight, seen: SignatureStatus | None, expected: Transition
) -> None:
    assert next_transition(before, seen, up_to_date=True, tips=TIPS) == expected


def test_a_node_that_is_behind_proves_nothing() -> None:
    def behind(before: InFlight, seen: SignatureStatus | None) -> Transition:
        return next_transition(before, seen, up_to_date=False, tips=TIPS)

    assert behind(row(State.SUBMITTED, 90), None) == Transition()
    assert behind(row(State.SUBMITTED, 110), None) == Transition(may_land=True)
    confirmed = row(State.CONFIRMED, 90, slot=8)
    for seen in (None, status(PROCESSED), status(CONFIRMED), status(CONFIRMED, "boom")):
        assert behind(confirmed, seen) == Transition()
    assert behind(confirmed, status(FINALIZED)).state is State.FINALIZED


def test_what_cannot_be_proven_waits_and_is_quarantined_in_the_end() -> None:
    last = 99 + QUARANTINE_AFTER_BLOCKS
    for before in (row(State.SUBMITTED, 99), row(State.CONFIRMED, 99, slot=7)):
        assert unproven(before, tips(finalized=100)) == Transition()
        assert unproven(before, tips(finalized=last)) == Transition()
        late = unproven(before, tips(finalized=last + 1))
        assert late == Transition(State.QUARANTINED, slot=before.slot)
