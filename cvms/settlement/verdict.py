"""What the evidence says for and against each outcome of a submission, on plain values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from cvms.settlement.evidence import Contradictions, Evidence, Findings, Outcome, Suggestion

FINALIZED = "finalized"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where the transaction was seen, in a block that may not be final yet.

    `error` is the chain's; None if it succeeded. It is not `known` for a block whose transactions
    no endpoint gives. `landed_signature` is another one of the same message.
    """

    source: str
    slot: int
    final: bool
    error: Any = None
    known: bool = True
    landed_signature: str | None = None

    @property
    def outcome(self) -> Outcome | None:
        """What it proves."""
        if not (self.final and self.known):
            return None
        return "finalized" if self.error is None else "failed"


def judge(findings: Findings) -> Evidence:
    """Return the findings with what they show."""
    seen = sightings(findings)
    against = Contradictions(
        finalized=_against_landed(findings, seen, "finalized"),
        failed=_against_landed(findings, seen, "failed"),
        expired=_against_expired(findings, seen),
    )
    known = {name: getattr(findings, name) for name in Findings.__struct_fields__}
    return Evidence(**known, suggested=_suggested(findings, against), contradictions=against)


def sightings(findings: Findings) -> list[Sighting]:
    """Return everything that has the transaction, or its message under another signature."""
    return [*_by_endpoints(findings), *_by_index(findings)]


def _suggested(findings: Findings, against: Contradictions) -> Suggestion:
    """Return the only outcome that nothing speaks against.

    Of what nobody has seen, that is `expired` only if an endpoint has every block in question.
    """
    possible: list[Outcome] = [each for each in get_args(Outcome) if not against.to(each)]
    if possible == ["expired"]:
        complete = any(each.blocks and each.blocks.complete for each in findings.endpoints)
        return "expired" if complete else "unknown"
    return possible[0] if len(possible) == 1 else "unknown"


def _by_endpoints(findings: Findings) -> Iterator[Sighting]:
    for each in findings.endpoints:
        status, blocks = each.status, each.blocks
        if status is not None:
            final = status.commitment == FINALIZED
            yield Sighting(f"{each.host} has it", status.slot, final, status.error)
        elif blocks is not None and blocks.containing_slot is not None:
            source = f"a finalized block of {each.host} holds it"
            yield Sighting(source, blocks.containing_slot, final=True, known=False)


def _by_index(findings: Findings) -> Iterator[Sighting]:
    for event in findings.events[:1]:
        yield Sighting("the index has applied it", event.slot, event.commitment == FINALIZED)
    for line in findings.movements:
        if line.same_message:
            yield Sighting(
                f"its message has landed as {line.signature}",
                line.slot,
                line.commitment == FINALIZED,
                landed_signature=line.signature,
            )


def _against_landed(findings: Findings, seen: Sequence[Sighting], outcome: Outcome) -> list[str]:
    if not seen:
        return ["no endpoint knows the transaction, and the index has no event of it"]
    found = [_text(each) for each in seen if each.outcome not in (None, outcome)]
    if not any(each.outcome == outcome for each in seen):
        found += [_text(each) for each in seen if each.outcome is None]
    if not any(each.landed_signature for each in seen):
        found += _absences(findings)
    return found


def _absences(findings: Findings) -> list[str]:
    """Return the endpoints that prove that no block has the transaction under its own signature."""
    return [
        f"{each.host} has every block that could contain it, and none does"
        for each in findings.endpoints
        if each.blocks and each.blocks.complete and each.blocks.containing_slot is None
    ]


def _against_expired(findings: Findings, seen: Sequence[Sighting]) -> list[str]:
    if all(each.slot is None for each in findings.endpoints):
        return ["no endpoint has answered, so nothing shows that it has not landed"]
    return [_text(each) for each in seen]


def _text(each: Sighting) -> str:
    if not each.known:
        end = "but no endpoint says whether it succeeded"
    elif not each.final:
        end = "which is not final yet"
    else:
        end = "succeeded" if each.error is None else f"failed with {each.error}"
    return f"{each.source} in slot {each.slot}, {end}"
