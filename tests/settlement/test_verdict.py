"""What the evidence says for and against each outcome."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cvms.settlement.evidence import (
    EndpointBlocks,
    EndpointEvidence,
    Findings,
    IndexedEvent,
    ListedSubmission,
    OwnerMovement,
    SeenStatus,
)
from cvms.settlement.verdict import judge, sightings

NOW = datetime(2027, 1, 31, tzinfo=UTC)
SUBMISSION = ListedSubmission(
    id="00",
    signature="signature",
    landed_signature=None,
    kind="deposit",
    owner="owner",
    owners=[],
    state="quarantined",
    amount=5,
    error=None,
    slot=None,
    seen_slot=None,
    since_slot=1,
    last_valid_block_height=9,
    sponsored_lamports=None,
    created_at=NOW,
    signed_at=NOW,
    updated_at=NOW,
    age=0.0,
)
FAILED = {"InstructionError": [0, {"Custom": 1}]}


def blocks(*, complete: bool = False, containing: int | None = None) -> EndpointBlocks:
    return EndpointBlocks(
        count=1, first_slot=2, last_slot=9, complete=complete, containing_slot=containing
    )


def endpoint(
    host: str = "a",
    *,
    answers: bool = True,
    status: SeenStatus | None = None,
    blocks: EndpointBlocks | None = None,
) -> EndpointEvidence:
    return EndpointEvidence(
        host=host,
        error=None if answers else "is down",
        slot=9 if answers else None,
        first_slot=None,
        status=status,
        blocks=blocks,
    )


def seen(error: Any = None, commitment: str = "finalized") -> SeenStatus:
    return SeenStatus(commitment=commitment, slot=7, error=error)


def movement(*, same: bool | None, commitment: str = "finalized") -> OwnerMovement:
    return OwnerMovement(
        signature="other",
        kind="deposit",
        amount=5,
        balance_after=5,
        slot=8,
        commitment=commitment,
        same_message=same,
    )


def findings(
    *endpoints: EndpointEvidence,
    events: tuple[str, ...] = (),
    movements: tuple[OwnerMovement, ...] = (),
) -> Findings:
    return Findings(
        submission=SUBMISSION,
        endpoints=list(endpoints),
        indexed_through=20,
        events=[IndexedEvent(name="DepositEvent", slot=7, commitment=each) for each in events],
        movements=list(movements),
    )


WHOLE = blocks(complete=True)
HOLDS = blocks(complete=True, containing=7)


@pytest.mark.parametrize(
    ("found", "suggested", "allowed"),
    [
        (findings(endpoint(status=seen())), "finalized", {"finalized"}),
        (findings(endpoint(status=seen(FAILED))), "failed", {"failed"}),
        (findings(endpoint(answers=False), endpoint("b", status=seen())), "finalized", None),
        (findings(endpoint(), events=("finalized",)), "finalized", {"finalized"}),
        (findings(endpoint(), movements=(movement(same=True),)), "finalized", {"finalized"}),
        (findings(endpoint(blocks=WHOLE)), "expired", {"expired"}),
        (findings(endpoint(blocks=WHOLE), movements=(movement(same=False),)), "expired", None),
        # Nothing speaks against it, but nothing proves it: a person must know more.
        (findings(endpoint(blocks=blocks())), "unknown", {"expired"}),
        (findings(endpoint(), movements=(movement(same=None),)), "unknown", {"expired"}),
        # No evidence at all, or evidence that contradicts itself.
        (findings(endpoint(answers=False)), "unknown", set()),
        (findings(), "unknown", set()),
        (findings(endpoint(status=seen()), endpoint("b", status=seen(FAILED))), "unknown", set()),
        # One says that it has landed, another one that no block has it: one of them lies.
        (findings(endpoint(status=seen()), endpoint("b", blocks=WHOLE)), "unknown", set()),
        (findings(endpoint(status=seen(FAILED)), endpoint("b", blocks=WHOLE)), "unknown", set()),
        (findings(endpoint(blocks=WHOLE), events=("finalized",)), "unknown", set()),
        # Those blocks are without this signature, not without another one of its message.
        (
            findings(endpoint(blocks=WHOLE), movements=(movement(same=True),)),
            "finalized",
            {"finalized"},
        ),
        # In a block, and nobody says whether it succeeded; or in one that is not final.
        (findings(endpoint(blocks=HOLDS)), "unknown", set()),
        (findings(endpoint(blocks=HOLDS), events=("finalized",)), "finalized", {"finalized"}),
        (findings(endpoint(status=seen(commitment="confirmed"))), "unknown", set()),
        (findings(endpoint(), events=("confirmed",)), "unknown", set()),
        (
            findings(endpoint(), movements=(movement(same=True, commitment="confirmed"),)),
            "unknown",
            set(),
        ),
    ],
)
def test_an_outcome_is_possible_only_if_nothing_speaks_against_it(
    found: Findings, suggested: str, allowed: set[str] | None
) -> None:
    evidence = judge(found)
    assert evidence.suggested == suggested
    possible = {
        name for name in ("finalized", "failed", "expired") if not evidence.contradictions.to(name)
    }
    assert possible == ({suggested} if allowed is None else allowed)


def test_each_contradiction_names_its_source() -> None:
    twins = findings(
        endpoint(status=seen(FAILED)), events=("finalized",), movements=(movement(same=True),)
    )
    assert judge(twins).contradictions.expired == [
        f"a has it in slot 7, failed with {FAILED}",
        "the index has applied it in slot 7, succeeded",
        "its message has landed as other in slot 8, succeeded",
    ]
    assert [each.landed_signature for each in sightings(twins)] == [None, None, "other"]
