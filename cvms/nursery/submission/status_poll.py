"""Polling of signature statuses, for many submissions at a time."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.chain.rpc.call_params import STATUSES_PER_CALL
from cvms.chain.rpc.evidence.chain_tips import Tips
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.nursery.submission.outcome import Transition, next_transition
from cvms.store.submissions.in_flight import InFlight


async def poll_outcomes(rpc: RpcClient, rows: Sequence[InFlight], tips: Tips) -> list[Transition]:
    """Return the transition of each row, in order. `tips` were read before.

    Raises RpcError or ChainUnavailable.
    """
    transitions: list[Transition] = []
    for start in range(0, len(rows), STATUSES_PER_CALL):
        chunk = rows[start : start + STATUSES_PER_CALL]
        signatures = [row.signature for row in chunk]
        seen = await rpc.statuses_everywhere(signatures, min_context_slot=tips.slot)
        transitions += [
            next_transition(row, status, up_to_date=seen.slot >= tips.slot, tips=tips)
            for row, status in zip(chunk, seen.statuses, strict=True)
        ]
    return transitions
