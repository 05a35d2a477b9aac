"""Settles a quarantined submission: once, unless the evidence contradicts it, and audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import structlog

from cvms.chain.transactions.failure_reasons import read_failure_reasons
from cvms.errors import Conflict, NotFound, SettlementContradicted
from cvms.settlement import verdict
from cvms.settlement.evidence import Evidence, ListedSubmission, Outcome
from cvms.settlement.gathering import EvidenceSources, find, gather, listed
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.text import storable, storable_json
from cvms.store.security import audit_log
from cvms.store.submissions import settlements, state_changes
from cvms.store.submissions.in_flight import StateChange
from cvms.store.submissions.settlements import SettlementRow
from cvms.store.submissions.submissions import State

log = structlog.get_logger(__name__)

ACTION = "submission_settle"


class SettlementAct(Protocol):
    """What a settlement does besides, in its transaction: such as deciding an approval of it."""

    async def begin(self, conn: Connection) -> None:
        """Begin, before anything else."""

    async def finish(self, conn: Connection, settled: ListedSubmission) -> Mapping[str, Any]:
        """Finish, and return what the audit trail says of it."""


class NoAct:
    """Nothing."""

    async def begin(self, conn: Connection) -> None:
        """Do nothing."""

    async def finish(self, conn: Connection, settled: ListedSubmission) -> Mapping[str, Any]:
        """Return nothing."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What a person decides. With `force` it holds even if the evidence contradicts it."""

    outcome: Outcome
    reason: str
    actor: str
    force: bool = False
    act: SettlementAct = field(default_factory=NoAct)


async def settle(
    sources: EvidenceSources, key: str, settlement: Settlement, *, hook: AlertWebhook | None
) -> ListedSubmission:
    """Settle the submission with this signature or id, and return it as it is then.

    Raises NotFound, Conflict unless it is quarantined, and SettlementContradicted.
    """
    row = await find(sources.database, key)
    _require_quarantined(row)
    evidence = await gather(sources, row)
    against = evidence.contradictions.to(settlement.outcome)
    if against and not settlement.force:
        raise SettlementContradicted(
            f"The evidence contradicts the outcome {settlement.outcome}: {'; '.join(against)}. "
            "Look at the evidence again, or force the settlement if you know better."
        )

    change = await _change(sources, row, evidence, settlement)

    async def record(conn: Connection) -> ListedSubmission:
        return await _record(conn, change, evidence, settlement, against=against, hook=hook)

    settled = await sources.database.transact(record)
    log.warning(
        "submission_settled",
        signature=row.signature,
        state=settled.state,
        actor=settlement.actor,
        forced=bool(against),
    )
    return settled


async def _record(
    conn: Connection,
    change: StateChange,
    evidence: Evidence,
    settlement: Settlement,
    *,
    against: list[str],
    hook: AlertWebhook | None,
) -> ListedSubmission:
    signature = evidence.submission.signature
    await settlement.act.begin(conn)
    await alerts.lock(conn)  # others wait, and then find it settled
    row = await settlements.find(conn, signature=signature)
    if row is None:
        raise NotFound(f"There is no signed submission {signature}.")
    _require_quarantined(row)
    if not await state_changes.apply(conn, [change]):
        raise Conflict(
            f"The submission {signature} has changed since the evidence was gathered. Nothing is "
            "changed: look at the evidence again."
        )
    about = await alerts.unresolved_of(conn, "submission_quarantined", [signature])
    await lifecycle.resolve(conn, about, hook=hook)
    if against:
        await lifecycle.observe(conn, [_forced(row, settlement, against)], hook=hook)
    settled = await settlements.find(conn, signature=signature)
    assert settled is not None, "signed submissions are kept"
    shown = listed(settled)
    besides = await settlement.act.finish(conn, shown)
    await audit_log.record(
        conn,
        actor=settlement.actor,
        action=ACTION,
        owner=row.owner,
        details={
            "signature": signature,
            "outcome": settlement.outcome,
            "reason": storable(settlement.reason),
            "forced": bool(against),
            "evidence": msgspec.to_builtins(evidence),
            **besides,
        },
    )
    return shown


def _require_quarantined(row: SettlementRow) -> None:
    if row.state is not State.QUARANTINED:
        raise Conflict(
            f"The submission {row.signature} is {row.state}, not quarantined, since "
            f"{row.updated_at.isoformat(timespec='seconds')}. Nothing is changed."
        )


async def _change(
    sources: EvidenceSources, row: SettlementRow, evidence: Evidence, settlement: Settlement
) -> StateChange:
    """Return the change, with the block and the error of what proves the outcome."""
    outcome = settlement.outcome
    proof = next((each for each in verdict.sightings(evidence) if each.outcome == outcome), None)
    error: dict[str, Any] | None = None
    if outcome == "failed" and proof is not None:
        failed = {row.signature: proof.error}
        reasons = await read_failure_reasons(sources.rpc, sources.programs, failed)
        error = storable_json(reasons[row.signature])
    elif outcome == "failed":
        msg = f"An administrator has settled it: {settlement.reason}"
        error = storable_json({"code": None, "name": "Settled", "msg": msg, "logs": []})
    return StateChange(
        row.in_flight,
        State(outcome),
        slot=proof.slot if proof else None,
        error=error,
        landed_signature=proof.landed_signature if proof else None,
    )


def _forced(row: SettlementRow, settlement: Settlement, against: list[str]) -> Observation:
    return Observation(
        kind="settlement_forced",
        subject=row.signature,
        owner=row.owner,
        severity=Severity.WARNING,
        summary=f"A {row.kind} was settled as {settlement.outcome} against the evidence",
        details={
            "kind": row.kind,
            "amount": row.amount,
            "signature": row.signature,
            "actor": settlement.actor,
            "reason": settlement.reason,
            "against": against,
        },
        slot=row.slot or 0,
        signature=row.signature,
    )
