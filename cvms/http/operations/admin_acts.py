"""Acts of administrators that move or expose money: each raises an alert, with what came of it.

Where a second administrator has to approve, the approval is decided in the transaction that has the
act's effect: so it is pending until that commits, and whoever is late finds it decided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from cvms.errors import ApprovalEnded, InvalidToken
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Response
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.lifecycle import alert_webhook
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import approvals, audit_log, revoked_tokens
from cvms.store.security.approvals import ApprovalRow, DecidedReply

REQUESTED = "admin_act_requested"
EXECUTED = "admin_act_executed"
REFUSED = "admin_act_refused"
"""Kinds of alerts."""

SUCCESS = 400
"""The first status that is none."""


@dataclass(slots=True, kw_only=True, eq=False)
class AloneAct:
    """An act of one administrator, which nobody has to approve. `subject` is its alert's."""

    deps: Dependencies
    subject: str
    action: str
    summary: str
    requester: str
    finished: bool = False

    async def consume(self, conn: Connection) -> None:
        """Do nothing: the token is enough."""

    async def finish(self, conn: Connection, response: Response) -> Mapping[str, Any]:
        """Raise the alert."""
        self.finished = True
        await raise_alert(
            conn,
            self.deps,
            EXECUTED if response.status < SUCCESS else REFUSED,
            subject=self.subject,
            summary=self.summary,
            details={"action": self.action, "requested_by": self.requester},
        )
        return {}


@dataclass(slots=True, kw_only=True, eq=False)
class ApprovedAct:
    """An act that `requester` has requested and `approver` approves."""

    deps: Dependencies
    approval: ApprovalRow
    requester: Administrator
    approver: Administrator
    shows_secret: bool
    finished: bool = False

    @property
    def administrator(self) -> Administrator:
        """The requester, as whom the act is executed."""
        return replace(self.requester, act=self)

    async def consume(self, conn: Connection) -> None:
        """Lock the approval. Raises ApprovalEnded unless it is pending, with tokens still valid."""
        row = await approvals.lock(conn, self.approval.id)
        if row is None or row.state != "pending":
            raise ended(row or self.approval)
        revoked = await revoked_tokens.read(conn)
        if self.approver.token in revoked:
            raise InvalidToken("The token was revoked; `cvms token` mints a new one.")
        if self.requester.token in revoked:
            raise ApprovalEnded(
                f"The token with which {row.requested_by} requested this was revoked; reject it, "
                "and request it again if it is meant."
            )

    async def finish(self, conn: Connection, response: Response) -> Mapping[str, Any]:
        """Decide the approval, with its reply, and raise the alert."""
        self.finished = True
        row, by = self.approval, self.approver
        executed = response.status < SUCCESS
        reply = DecidedReply(
            response.status,
            response.headers["Content-Type"],
            self._sealed(response.body) if self.shows_secret else response.body,
            self.shows_secret,
        )
        state: approvals.Decision = "executed" if executed else "refused"
        await approvals.decide(conn, row.id, state, by=by.subject, reply=reply)
        await raise_alert(
            conn,
            self.deps,
            EXECUTED if executed else REFUSED,
            subject=str(row.id),
            summary=row.summary,
            details=parties(row) | {"approved_by": by.subject},
        )
        await record_decision(conn, by, row, "approval_approve")
        return {"approval": str(row.id), "approved_by": by.actor}

    def _sealed(self, content: bytes) -> bytes:
        label = approvals.about(str(self.approval.id))
        return self.deps.secret_box.seal(content, about=label)


async def raise_alert(
    conn: Connection,
    deps: Dependencies,
    kind: str,
    *,
    subject: str,
    summary: str,
    details: Mapping[str, Any],
) -> None:
    """Raise an alert about an act, near the end of its transaction."""
    await alerts.lock(conn)
    seen = Observation(
        kind=kind,
        subject=subject,
        severity=Severity.CRITICAL if kind == EXECUTED else Severity.WARNING,
        summary=summary,
        details=details,
    )
    hook = alert_webhook(deps.config.alerts.webhook_minimum)
    await lifecycle.observe(conn, [seen], hook=hook)


async def record_decision(
    conn: Connection, by: Administrator, row: ApprovalRow, decision: str
) -> None:
    """Append a decision about an approval to the audit trail, last in its transaction."""
    details = {"approval": str(row.id), "body_hash": body_hash(row)} | parties(row)
    await audit_log.record(conn, actor=by.actor, action=decision, owner=None, details=details)


def body_hash(row: ApprovalRow) -> str:
    """Return the SHA-256 of what was requested, in hexadecimal."""
    return hashlib.sha256(row.request.encode()).hexdigest()


def parties(row: ApprovalRow) -> dict[str, Any]:
    """Return what an alert and the audit trail say of an approval."""
    return {"action": row.action, "requested_by": row.requested_by}


def ended(row: ApprovalRow) -> ApprovalEnded:
    """Return the error for an approval that is not pending."""
    if row.state == "expired":
        return ApprovalEnded(f"It has expired at {row.expires_at.isoformat()}. Request it again.")
    return ApprovalEnded(f"{row.decided_by} has decided it: it is {row.state}.")
