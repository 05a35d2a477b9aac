"""Signature statuses from several nodes, merged into one result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from solana.rpc.commitment import get_commitment_score

from cvms.chain.rpc.call_params import STATUSES_PER_CALL
from cvms.chain.rpc.responses import SignatureStatus, StatusesAt, statuses
from cvms.chain.rpc.transport.failover import EndpointReply, failure_of
from cvms.chain.types import Slot
from cvms.errors import RpcError


def merge_statuses(
    replies: Sequence[EndpointReply], *, count: int, min_context_slot: Slot
) -> StatusesAt:
    """Merge each node's response to getSignatureStatuses, for `count` signatures.

    A status that any node reports counts; of several the most advanced. A None means "not found up
    to `slot`": the lowest slot of the nodes at `min_context_slot` or later; if no node is there,
    the highest slot of all, which is earlier; and 0 if a node did not respond or has other blocks
    than the rest, since it might know the signature. One that does not serve the method is no
    witness.
    Raises RpcError or ChainUnavailable when no node responds.
    """
    results = [found for each in replies if (found := statuses_from(each, count)) is not None]
    if not results:
        raise failure_of(replies)
    witnesses = [each for each in replies if not each.unserved]
    certain = len(results) == len(witnesses)
    certain = certain and not any(each.endpoint.disagrees for each in witnesses)
    return StatusesAt(
        _evidence_slot(results, min_context_slot) if certain else Slot(0),
        [_most_advanced([each.statuses[index] for each in results]) for index in range(count)],
    )


def statuses_from(reply: EndpointReply, count: int) -> StatusesAt | None:
    """Return the reply's statuses, None when it is an error or malformed."""
    if not reply.ok:
        return None
    try:
        return statuses(reply.answer, count)
    except RpcError:
        return None


def _evidence_slot(results: Sequence[StatusesAt], min_context_slot: Slot) -> Slot:
    slots = [each.slot for each in results]
    reached = [slot for slot in slots if slot >= min_context_slot]
    return min(reached) if reached else max(slots, default=Slot(0))


def _most_advanced(statuses: Sequence[SignatureStatus | None]) -> SignatureStatus | None:
    known = [each for each in statuses if each is not None]
    return max(known, key=lambda each: get_commitment_score(each.commitment), default=None)


async def in_chunks(
    signatures: Sequence[str], read_chunk: Callable[[list[str]], Awaitable[StatusesAt]]
) -> StatusesAt:
    """Return the statuses that `read_chunk` reads, with the lowest slot of all chunks."""
    slots: list[Slot] = []
    statuses: list[SignatureStatus | None] = []
    for start in range(0, len(signatures), STATUSES_PER_CALL):
        chunk = await read_chunk(list(signatures[start : start + STATUSES_PER_CALL]))
        slots.append(chunk.slot)
        statuses += chunk.statuses
    return StatusesAt(min(slots, default=Slot(0)), statuses)
