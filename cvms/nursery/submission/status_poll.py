"""Ask the chain what has become of what was sent, for many at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.rpc.chain_tips import Tips, final_block, read_tips
from cvms.chain.rpc.limits import STATUSES_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.errors import ChainUnavailable, ProgramRefused, RpcError
from cvms.nursery.submission.outcome import Transition, next_transition, resolve_disputed
from cvms.store.submissions.in_flight import InFlight

log = structlog.get_logger(__name__)


async def poll_outcomes(rpc: RpcClient, rows: Sequence[InFlight]) -> list[Transition]:
    """The fate of each row, in their order. Raises what the RPC raises."""
    # Heights before statuses: a transaction that was not there *after* its last block was.
    tips = await read_tips(rpc)
    transitions: list[Transition] = []
    for start in range(0, len(rows), STATUSES_PER_CALL):
        chunk = rows[start : start + STATUSES_PER_CALL]
        signatures = [row.signature for row in chunk]
        seen = await rpc.statuses_everywhere(signatures, min_context_slot=tips.slot)
        transitions += [
            next_transition(row, status, certain=seen.slot >= tips.slot, tips=tips)
            for row, status in zip(chunk, seen.statuses, strict=True)
        ]
    return await _resolve_disputes(rpc, rows, transitions, tips)


async def _resolve_disputes(
    rpc: RpcClient, rows: Sequence[InFlight], transitions: Sequence[Transition], tips: Tips
) -> list[Transition]:
    blocks: dict[int, frozenset[str] | None] = {}
    resolved = []
    for row, fate in zip(rows, transitions, strict=True):
        if not fate.disputed or row.seen_slot is None:
            resolved.append(fate)
            continue
        if row.seen_slot not in blocks:
            blocks[row.seen_slot] = await final_block(rpc, row.seen_slot)
        block = blocks[row.seen_slot]
        held = None if block is None else row.signature in block
        resolved.append(resolve_disputed(row, tips, held=held))
    return resolved


async def read_failure_reasons(
    rpc: RpcClient, programs: Programs, failed: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Why each has failed, in the program's words; `failed` are the chain's errors by signature.

    The logs are the chain's, if it still has them: a failure is written down without them too.
    """
    if not failed:
        return {}
    try:
        records = await rpc.get_transactions(list(failed), commitment=Commitment.CONFIRMED)
    except (RpcError, ChainUnavailable) as error:
        log.warning("failures_without_logs", count=len(failed), reason=str(error))
        records = [None] * len(failed)
    logs = [[] if record is None else record.logs or [] for record in records]
    return {
        signature: _as_json(to_program_error(err, lines, programs))
        for (signature, err), lines in zip(failed.items(), logs, strict=True)
    }


def _as_json(outcome: Exception) -> dict[str, Any]:
    code: int | None = None
    name, msg, logs = type(outcome).__name__, str(outcome), tuple[str, ...]()
    if isinstance(outcome, ProgramRefused):
        code, name, msg, logs = outcome.code, outcome.name, outcome.msg, outcome.logs
    return {
        "code": code,
        "name": _storable(name),
        "msg": _storable(msg),
        "logs": [_storable(line) for line in logs],
    }


def _storable(text: str) -> str:
    """PostgreSQL's JSON has no NUL, and a program may log anything."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
