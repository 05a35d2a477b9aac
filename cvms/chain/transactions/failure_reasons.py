"""Why transactions have failed, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from cvms.chain.program.program_errors import to_program_error
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.errors import ChainUnavailable, ProgramRefused, RpcError

log = structlog.get_logger(__name__)


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
    return {"code": code, "name": name, "msg": msg, "logs": list(logs)}
