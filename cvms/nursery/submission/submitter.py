"""Send what is signed until it lands or cannot any more, and write down what became of it.

The signed bytes are in `submissions` before they are first sent, and only those bytes are ever
sent: twice the same is one transaction to the chain, so a crash, a retry or a second replica can
do no harm. Whatever is in memory here may be lost; the table says where to go on.

A round reads the rows, asks the chain about them, writes down all that has changed in one database
transaction with what is told of it, and sends what may still land.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, SubmitWakeup
from cvms.nursery.submission.rebroadcast import Rebroadcaster
from cvms.nursery.submission.status_poll import poll_outcomes, read_failure_reasons
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.postgres.database import Database
from cvms.store.submissions import fee_budget, in_flight
from cvms.store.submissions.in_flight import InFlight, StateChange
from cvms.store.submissions.submissions import State

log = structlog.get_logger(__name__)

RESEND_SECONDS = 2.0
BUSY_POLL_SECONDS = 0.4
"""Between looks while something is under way: about a slot."""
POLL_SECONDS = 5.0
"""Between looks while nothing is, for what another replica accepted."""
IN_FLIGHT_LIMIT = 4096

FINAL_STATES = frozenset({State.FINALIZED, State.FAILED})


class Submitter:
    """Brings every row of `submissions` that is signed to its end."""

    def __init__(
        self,
        *,
        database: Database,
        rpc: RpcClient,
        programs: Programs,
        wake: SubmitWakeup,
        outbox_wake: OutboxWakeup,
        board: StatusBoard,
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
        self._rebroadcaster = Rebroadcaster(rpc, resend_seconds=resend_seconds, metrics=metrics)

    async def run(self) -> None:
        """Look, send and look again until cancelled."""
        while True:
            under_way = await self.run_once()
            self._board.task_succeeded("submitter")
            await self._wake.wait(BUSY_POLL_SECONDS if under_way else POLL_SECONDS)

    async def run_once(self) -> int:
        """Ask for the fate of all that is under way and act on it; returns how many those are."""
        async with self._database.connection() as conn:
            rows = await in_flight.read(conn, IN_FLIGHT_LIMIT)
            self._set_gauges(await in_flight.count_by_state(conn))
        self._rebroadcaster.retain({row.signature for row in rows})
        if not rows:
            return 0
        fates = await poll_outcomes(self._rpc, rows)
        pairs = list(zip(rows, fates, strict=True))
        failed = {row.signature: fate.err for row, fate in pairs if fate.err is not None}
        errors = await read_failure_reasons(self._rpc, self._programs, failed)
        await self._apply(
            [
                StateChange(row, fate.state, slot=fate.slot, error=errors.get(row.signature))
                for row, fate in pairs
                if fate.state is not None
            ]
        )
        await self._send([row for row, fate in pairs if fate.may_land])
        return len(rows)

    async def _send(self, rows: Sequence[InFlight]) -> None:
        """Send what is due, and write down what was sent for the first time."""
        due = self._rebroadcaster.due([row.signature for row in rows])
        if not due:
            return
        async with self._database.connection() as conn:
            wires = await in_flight.wires(conn, due)
        sent = set(
            await self._rebroadcaster.send({each: wires[each] for each in due if each in wires})
        )
        await self._apply(
            [
                StateChange(row, State.SUBMITTED)
                for row in rows
                if row.state is State.PENDING and row.signature in sent
            ]
        )

    async def _apply(self, changes: Sequence[StateChange]) -> None:
        """Write new states and tell the owners, all or nothing."""
        if not changes:
            return
        async with self._database.transaction() as conn:
            made = await in_flight.apply_changes(conn, changes)
            expired = [each.row.signature for each in made if each.state is State.EXPIRED]
            if expired:
                await fee_budget.refund(conn, expired)
            if made:
                await outbox.append(conn, [_message(each) for each in made])
        for each in made:
            self._report(each)
        if made:
            self._outbox_wake.wake()

    def _report(self, change: StateChange) -> None:
        row = change.row
        self._metrics.submissions.labels(state=change.state.value).inc()
        if change.slot is not None and row.slot is None:
            self._metrics.confirmation_seconds.observe(row.age)
        if change.state is State.QUARANTINED:
            log.error("submission_quarantined", signature=row.signature, kind=row.kind)
        elif change.state is State.SUBMITTED and row.slot is not None and change.slot is None:
            log.warning("submission_left_its_block", signature=row.signature, slot=row.slot)

    def _set_gauges(self, census: Sequence[in_flight.Count]) -> None:
        counts = {each.state: each.count for each in census}
        for state in in_flight.COUNTED:
            self._metrics.submissions_under_way.labels(state=state).set(counts.get(state, 0))
        oldest = max((each.oldest for each in census), default=0.0)
        self._metrics.oldest_submission_seconds.set(oldest)


def _message(change: StateChange) -> OutboxMessage:
    row = change.row
    final = change.state in FINAL_STATES
    return OutboxMessage(
        topic="transaction_update",
        owner=row.owner,
        slot=change.slot or row.slot or 0,
        signature=row.signature,
        commitment=Commitment.FINALIZED if final else Commitment.CONFIRMED,
        data={
            "signature": row.signature,
            "status": change.state,
            "kind": row.kind,
            "owner": row.owner,
            "amount": row.amount,
            "slot": change.slot,
            "error": change.error,
        },
    )
