"""Submitter: sends signed transactions until each lands or expires, and records the outcome.

The signed bytes are in `submissions` before they are first sent, and only those bytes are ever
sent. To the chain, equal bytes are one transaction, so a crash, a retry or a second replica does no
harm. The memory of this task may be lost at any time: the table is the only state that matters.

Each run reads the rows in flight, polls their statuses, writes all changes and their outbox
messages in one database transaction, and sends what may still land.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.rpc.evidence.chain_tips import Tips, read_tips
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.failure_reasons import read_failure_reasons
from cvms.chain.types import Programs
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup, SubmitWakeup
from cvms.nursery.submission.expiry_proof import ExpiryProof
from cvms.nursery.submission.outcome import Transition
from cvms.nursery.submission.rebroadcast import Rebroadcaster
from cvms.nursery.submission.status_poll import poll_outcomes
from cvms.store.postgres.database import Database
from cvms.store.postgres.text import storable_json
from cvms.store.submissions import in_flight, state_changes
from cvms.store.submissions.in_flight import InFlight, StateChange
from cvms.store.submissions.submissions import State
from cvms.traces.spans import NO_TRACES, Traces
from cvms.traces.submission_spans import transaction_span

log = structlog.get_logger(__name__)

RESEND_SECONDS = 2.0
BUSY_POLL_SECONDS = 0.4
"""While something is in flight: about a slot."""
POLL_SECONDS = 5.0
"""While nothing is in flight, for what another replica accepted."""
IN_FLIGHT_LIMIT = 4096
IN_FLIGHT_STATES = frozenset({State.PENDING, State.SUBMITTED, State.CONFIRMED})


@dataclass(slots=True, kw_only=True, eq=False)
class Submitter:
    """Brings every signed row of `submissions` to a terminal state."""

    database: Database
    rpc: RpcClient
    programs: Programs
    is_deterministic: Callable[[Pubkey], bool]
    wake: SubmitWakeup
    outbox_wake: OutboxWakeup
    board: StatusBoard
    metrics: Metrics
    traces: Traces = NO_TRACES
    resend_seconds: float = RESEND_SECONDS
    _rebroadcaster: Rebroadcaster = field(init=False)
    _expiry_proof: ExpiryProof = field(init=False)
    _absent: list[InFlight] = field(default_factory=list, init=False)
    _tips: Tips | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._rebroadcaster = Rebroadcaster(
            self.rpc, resend_seconds=self.resend_seconds, metrics=self.metrics
        )
        self._expiry_proof = ExpiryProof(
            self.database,
            self.rpc,
            program=self.programs.vault,
            is_deterministic=self.is_deterministic,
        )

    async def run(self) -> None:
        """Poll and send until cancelled; prove meanwhile which submissions have expired."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._prove_forever)
            while True:
                with self.metrics.tasks.timed("submitter"):
                    count = await self._send_round()
                self.board.task_succeeded("submitter")
                await self.wake.wait(BUSY_POLL_SECONDS if count else POLL_SECONDS)

    async def _prove_forever(self) -> None:
        # A proof reads many blocks, which must not delay what can still land.
        while True:
            await self._prove_round()
            await trio.sleep(BUSY_POLL_SECONDS)

    async def run_once(self) -> int:
        """Make one round of sending, and one of proofs; return how many were in flight."""
        count = await self._send_round()
        await self._prove_round()
        return count

    async def _send_round(self) -> int:
        """Poll and update all submissions in flight, send those that are due; return how many."""
        async with self.database.connection() as conn:
            rows = await in_flight.read(conn, IN_FLIGHT_LIMIT)
            self._set_gauges(await in_flight.count_by_state(conn))
        self._rebroadcaster.retain({row.signature for row in rows})
        self._absent = []
        if not rows:
            return 0
        # Tips before statuses: only what is absent after its last valid block may have expired.
        self._tips = await read_tips(self.rpc)
        transitions = await poll_outcomes(self.rpc, rows, self._tips)
        pairs = list(zip(rows, transitions, strict=True))
        self._absent = [row for row, transition in pairs if transition.absent]
        await self._change(pairs)
        await self._send([row for row, transition in pairs if transition.may_land])
        return len(rows)

    async def _prove_round(self) -> None:
        """Update the absent submissions of which the end can be proven."""
        absent, tips = self._absent, self._tips
        if absent and tips is not None:
            resolved = await self._expiry_proof.resolve(absent, tips)
            rows = [row for row in absent if row.signature in resolved]
            await self._change([(row, resolved[row.signature]) for row in rows])

    async def _change(self, pairs: Sequence[tuple[InFlight, Transition]]) -> None:
        """Write the new states, with the reasons of failures."""
        failed = {
            transition.landed_signature or row.signature: transition.err
            for row, transition in pairs
            if transition.err is not None
        }
        reasons = await read_failure_reasons(self.rpc, self.programs, failed)
        errors = storable_json(reasons)  # a program may log NUL
        await self._apply(
            [
                StateChange(
                    row,
                    transition.state,
                    slot=transition.slot,
                    error=errors.get(transition.landed_signature or row.signature),
                    landed_signature=transition.landed_signature,
                )
                for row, transition in pairs
                if transition.state is not None
            ]
        )

    async def _send(self, rows: Sequence[InFlight]) -> None:
        """Send the rows that are due, and mark those sent for the first time as submitted."""
        due = self._rebroadcaster.due([row.signature for row in rows])
        if not due:
            return
        async with self.database.connection() as conn:
            wires = await in_flight.wires(conn, due)
        found = {signature: wires[signature] for signature in due if signature in wires}
        sent = set(await self._rebroadcaster.send(found))
        await self._apply(
            [
                StateChange(row, State.SUBMITTED)
                for row in rows
                if row.state is State.PENDING and row.signature in sent
            ]
        )

    async def _apply(self, changes: Sequence[StateChange]) -> None:
        """Write new states, refunds and outbox messages, all or nothing."""
        if not changes:
            return
        async with self.database.transaction() as conn:
            applied = await state_changes.apply(conn, changes)
        for change in applied:
            self._report(change)
        if applied:
            self.outbox_wake.wake()

    def _report(self, change: StateChange) -> None:
        row = change.row
        self.metrics.submissions.states.labels(state=change.state.value).inc()
        if change.slot is not None and row.slot is None:
            self.metrics.submissions.confirmation_seconds.observe(row.age)
        about = {"signature": row.signature, "kind": row.kind, "owner": row.owner}
        if row.request_id is not None:
            about["request_id"] = row.request_id
        if change.state is State.QUARANTINED:
            log.error("submission_quarantined", **about)
        elif change.state is State.SUBMITTED and row.slot is not None and change.slot is None:
            log.warning("submission_rolled_back", **about, slot=row.slot)
        else:
            state = change.state.value
            log.info("submission_changed", **about, state=state, slot=change.slot or row.slot)
        self._trace(change)

    def _trace(self, change: StateChange) -> None:
        """Record the span of a submission that has landed, or that ends without."""
        row = change.row
        if not self.traces.enabled or row.slot is not None:
            return
        if change.slot is not None or change.state not in IN_FLIGHT_STATES:
            span = transaction_span(
                row.traceparent,
                change.landed_signature or row.signature,
                kind=row.kind,
                state=change.state.value,
                slot=change.slot,
                age=row.age,
            )
            if span is not None:
                self.traces.record(span)

    def _set_gauges(self, rows: Sequence[in_flight.Count]) -> None:
        counts = {row.state: row.count for row in rows}
        for state in in_flight.COUNTED:
            self.metrics.submissions.under_way.labels(state=state).set(counts.get(state, 0))
        oldest = max((row.oldest for row in rows), default=0.0)
        self.metrics.submissions.oldest_seconds.set(oldest)
