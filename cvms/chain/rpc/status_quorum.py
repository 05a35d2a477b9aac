"""What several nodes say of the same signatures, as one answer."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.chain.rpc.responses import SignatureStatus, StatusesAt, statuses
from cvms.chain.rpc.transport.failover import EndpointReply, failure_of
from cvms.chain.types import Commitment, Slot
from cvms.errors import RpcError

_ORDER = (Commitment.PROCESSED, Commitment.CONFIRMED, Commitment.FINALIZED)


def merge_statuses(
    heard: Sequence[EndpointReply], *, count: int, min_context_slot: Slot
) -> StatusesAt:
    """One answer out of what each node said to getSignatureStatuses.

    What any node has found is found, in the state that is furthest. That there is nothing counts up
    to `slot`: the lowest that the nodes at `min_context_slot` or beyond answered for. When none is
    there it is the highest that any answered for, which lies before; and 0 when a node gave no
    answer, or tells of other blocks than the rest: it might know. Raises RpcError or
    ChainUnavailable when no node answers.
    """
    told = [_statuses_from(each, count) for each in heard]
    answers = [each for each in told if each is not None]
    if not answers:
        raise failure_of(heard)
    certain = len(answers) == len(told) and not any(each.endpoint.disagrees for each in heard)
    return StatusesAt(
        _evidence(answers, min_context_slot) if certain else Slot(0),
        [_furthest([each.statuses[index] for each in answers]) for index in range(count)],
    )


def _statuses_from(heard: EndpointReply, count: int) -> StatusesAt | None:
    """None when it said nothing, or what makes no sense."""
    if not heard.ok:
        return None
    try:
        return statuses(heard.answer, count)
    except RpcError:
        return None


def _evidence(answers: Sequence[StatusesAt], min_context_slot: Slot) -> Slot:
    slots = [each.slot for each in answers]
    reached = [slot for slot in slots if slot >= min_context_slot]
    return min(reached) if reached else max(slots, default=Slot(0))


def _furthest(given: Sequence[SignatureStatus | None]) -> SignatureStatus | None:
    found = [each for each in given if each is not None]
    return max(found, key=lambda each: _ORDER.index(each.commitment), default=None)
