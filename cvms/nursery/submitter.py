"""Send what is signed until it lands or cannot any more, and write down what became of it.

The signed bytes are in `submissions` before they are first sent, and only those bytes are ever
sent: twice the same is one transaction to the chain, so a crash, a retry or a second replica can
do no harm. Whatever is in memory here may be lost; the table says where to go on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import structlog
import trio

from cvms.chain.program_errors import refusal
from cvms.chain.rpc import Rpc
from cvms.chain.types import Commitment, Programs
from cvms.errors import ProgramRefused, RpcError
from cvms.metrics import Metrics
from cvms.nursery.channels import Board, OutboxWake, SubmitWake
from cvms.nursery.fate import Fate, Heights, fate_of
from cvms.store import outbox, submissions
from cvms.store.database import Database
from cvms.store.outbox import OutboxMessage
from cvms.store.submissions import State, Submission

log = structlog.get_logger(__name__)

RESEND_SECONDS = 2.0
BUSY_SECONDS = 0.4
"""Between looks while something is under way: about a slot."""
IDLE_SECONDS = 5.0
"""Between looks while nothing is, for what another replica accepted."""
UNDER_WAY_LIMIT = 4096
SENDS_AT_ONCE = 16

# What a node says to bytes that are fine: sent before, or of a block hash that it does not know
# yet. Nothing else is done about them; the statuses and the block height decide.
_HARMLESS = ("AlreadyProcessed", "already been processed", "BlockhashNotFound", "Blockhash not")


class Submitter:
    """Brings every row of `submissions` that is signed to its end."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: Rpc,
        programs: Programs,
        wake: SubmitWake,
        outbox_wake: OutboxWake,
        board: Board,
        metrics: Metrics,
        resend_seconds: float = RESEND_SECONDS,
    ) -> None:
        self._database = database
        self._rpc = rpc
        self._programs = programs
        self._wake = wake
        self._outbox_wake = outbox_wake
        self._board = board
        self._metrics = metrics
        self._resend_seconds = resend_seconds
        self._sent_at: dict[str, float] = {}

    async def run(self) -> None:
        """Look, send and look again until cancelled."""
        while True:
            under_way = await self.round()
            self._board.task_succeeded("submitter")
            await self._wake.wait(BUSY_SECONDS if under_way else IDLE_SECONDS)

    async def round(self) -> int:
        """Ask for the fate of all that is under way and act on it; returns how many those are."""
        async with self._database.connection() as conn:
            rows = await submissions.unfinished(conn, UNDER_WAY_LIMIT)
        signed = {row.signature: row for row in rows if row.signature is not None}
        self._sent_at = {key: at for key, at in self._sent_at.items() if key in signed}
        if not signed:
            return 0
        fates = await self._fates(list(signed.values()))
        for signature, fate in fates.items():
            if fate.state is not None:
                await self._record(signed[signature], fate)
        await self._send_all(
            [signed[signature] for signature, fate in fates.items() if fate.may_land]
        )
        return len(signed)

    async def _fates(self, rows: Sequence[Submission]) -> dict[str, Fate]:
        # Heights before statuses: a transaction that was not there *after* its last block was.
        confirmed = await self._rpc.get_block_height(Commitment.CONFIRMED)
        finalized = await self._rpc.get_block_height(Commitment.FINALIZED)
        heights = Heights(confirmed, finalized)
        signatures = [row.signature for row in rows if row.signature is not None]
        statuses = await self._rpc.get_signature_statuses(signatures)
        return {
            signature: fate_of(row, status, heights)
            for signature, row, status in zip(signatures, rows, statuses, strict=True)
        }

    async def _send_all(self, rows: Sequence[Submission]) -> None:
        limit = trio.CapacityLimiter(SENDS_AT_ONCE)
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for row in rows:
                assert row.signature is not None
                if now - self._sent_at.get(row.signature, -math.inf) >= self._resend_seconds:
                    nursery.start_soon(self._send, row, limit)

    async def _send(self, row: Submission, limit: trio.CapacityLimiter) -> None:
        assert row.signature is not None
        assert row.wire is not None
        async with limit:
            self._sent_at[row.signature] = trio.current_time()
            try:
                await self._rpc.send_transaction(row.wire, skip_preflight=True, max_retries=0)
            except RpcError as error:
                if not any(words in f"{error.message} {error.data}" for words in _HARMLESS):
                    log.warning("send_refused", signature=row.signature, reason=str(error))
        if row.state is State.PENDING:
            await self._record(row, Fate(State.SUBMITTED, may_land=True))

    async def _record(self, row: Submission, fate: Fate) -> None:
        """Write a submission's new state and tell its owner, both or neither."""
        assert row.signature is not None
        assert fate.state is not None
        error = await self._error(row.signature, fate)
        async with self._database.transaction() as conn:
            moved = await submissions.advance(
                conn, row.signature, fate.state, slot=fate.slot, error=error
            )
            if moved:
                await outbox.append(conn, [_message(row, fate, error)])
        if moved:
            self._metrics.submissions.labels(state=fate.state.value).inc()
            self._outbox_wake.wake()
            if fate.state is State.QUARANTINED:
                log.error("submission_quarantined", signature=row.signature, kind=row.kind)

    async def _error(self, signature: str, fate: Fate) -> dict[str, Any] | None:
        """Why it failed, in the program's words; the logs are the chain's, if it still has them."""
        if fate.state is not State.FAILED:
            return None
        [record] = await self._rpc.get_transactions([signature], commitment=Commitment.CONFIRMED)
        logs = record.logs or [] if record is not None else []
        outcome = refusal(fate.err, logs, self._programs)
        if isinstance(outcome, ProgramRefused):
            return {
                "code": outcome.code,
                "name": outcome.name,
                "msg": outcome.msg,
                "logs": list(outcome.logs),
            }
        return {"code": None, "name": type(outcome).__name__, "msg": str(outcome), "logs": []}


def _message(row: Submission, fate: Fate, error: dict[str, Any] | None) -> OutboxMessage:
    finalized = fate.state is State.FINALIZED
    return OutboxMessage(
        topic="transaction_update",
        owner=row.owner,
        slot=fate.slot or row.slot or 0,
        signature=row.signature,
        commitment=Commitment.FINALIZED if finalized else Commitment.CONFIRMED,
        data={
            "signature": row.signature,
            "status": fate.state,
            "kind": row.kind,
            "owner": row.owner,
            "amount": row.amount,
            "slot": fate.slot or row.slot,
            "error": error,
        },
    )
