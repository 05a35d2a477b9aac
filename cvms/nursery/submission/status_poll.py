"""Polling of signature statuses, for many submissions at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.rpc.call_params import STATUSES_PER_CALL
from cvms.chain.rpc.evidence.chain_tips import Tips
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.errors import ChainUnavailable, ProgramRefused, RpcError
from cvms.nursery.submission.outcome import Transition, next_transition
from cvms.store.postgres.text import storable_json
from cvms.store.submissions.in_flight import InFlight

log = structlog.get_logger(__name__)


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


async def read_failure_reasons(
    rpc: RpcClient, programs: Programs, failed: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the program's error of each failed transaction, as JSON by signature.

    `failed` holds the chain's errors by signature. Logs are left out if no node can give them.
    """
    if not failed:
        return {}
    try:
        records = await rpc.get_transactions(list(failed), commitment=Commitment.CONFIRMED)
    except (RpcError, ChainUnavailable) as error:
        log.warning("failure_logs_unavailable", count=len(failed), reason=str(error))
        records = [None] * len(failed)
    logs = [[] if record is None else record.logs or [] for record in records]
    return {
        signature: _as_json(to_program_error(err, lines, programs))
        for (signature, err), lines in zip(failed.items(), logs, strict=True)
    }


def _as_json(error: Exception) -> dict[str, Any]:
    code: int | None = None
    name, msg, logs = type(error).__name__, str(error), tuple[str, ...]()
    if isinstance(error, ProgramRefused):
        code, name, msg, logs = error.code, error.name, error.msg, error.logs
    # A program may log NUL.
    told: dict[str, Any] = storable_json({"code": code, "name": name, "msg": msg, "logs": logs})
    return told
