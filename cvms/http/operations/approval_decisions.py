"""Decisions about requested acts: one administrator requests, another one approves or rejects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from uuid import UUID

import msgspec

from cvms.errors import ApprovalEnded, NotAllowed, NotFound
from cvms.http.framework.admin_tokens import Administrator, Role, person
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import response_of
from cvms.http.framework.request import current_request, decode
from cvms.http.framework.response import Response
from cvms.http.framework.routing import Route
from cvms.http.operations.admin_acts import (
    REFUSED,
    ApprovedAct,
    ended,
    parties,
    raise_alert,
    record_decision,
)
from cvms.http.operations.approvals import OF_LIMITS, StoredRequest, record_limit
from cvms.http.operations.idempotency import HEADER
from cvms.store.security import approvals
from cvms.store.security.approvals import ApprovalRow

HAS_REPLY = frozenset({"executed", "refused"})


async def get(deps: Dependencies, approval: UUID) -> ApprovalRow:
    """Return an approval. Raises NotFound."""
    async with deps.database.connection() as conn:
        row = await approvals.get(conn, approval)
    if row is None:
        raise _unknown(approval)
    return row


async def approve(
    deps: Dependencies, acts: Mapping[str, Route], approver: Administrator, approval: UUID
) -> Response:
    """Execute a requested act once, and return its reply; the same one if asked again.

    Raises NotFound, NotAllowed, ApprovalEnded, and what the act is refused with.
    """
    row = await get(deps, approval)
    if _may_see_reply(row, approver):
        return await _stored_reply(deps, row)
    if row.state != "pending":
        raise ended(row)
    if _same_person(row.requested_by, approver.subject):
        raise NotAllowed("Another administrator than the one who has requested it must approve it.")
    try:
        return await _execute(deps, acts, approver, row)
    except ApprovalEnded:
        # An equal request may have been faster.
        row = await get(deps, approval)
        if _may_see_reply(row, approver):
            return await _stored_reply(deps, row)
        raise


async def decline(
    deps: Dependencies,
    administrator: Administrator,
    approval: UUID,
    state: Literal["rejected", "withdrawn"],
) -> ApprovalRow:
    """End a pending approval without its act: its requester withdraws it, another one rejects it.

    Raises NotFound, NotAllowed or ApprovalEnded.
    """
    async with deps.database.transaction() as conn:
        row = await approvals.lock(conn, approval)
        if row is None:
            raise _unknown(approval)
        own = _same_person(row.requested_by, administrator.subject)
        if own != (state == "withdrawn"):
            raise NotAllowed(
                "Whoever has requested it withdraws it."
                if own
                else f"{row.requested_by} has requested it, and may withdraw it; you may reject it."
            )
        if row.state == state:
            return row  # asked again
        if row.state != "pending":
            raise ended(row)
        await approvals.decide(conn, approval, state, by=administrator.subject)
        await raise_alert(
            conn,
            deps,
            REFUSED,
            subject=str(row.id),
            summary=row.summary,
            details=parties(row) | {state: administrator.subject},
        )
        action = "approval_reject" if state == "rejected" else "approval_withdraw"
        await record_decision(conn, administrator, row, action)
    return await get(deps, approval)


async def _execute(
    deps: Dependencies, acts: Mapping[str, Route], approver: Administrator, row: ApprovalRow
) -> Response:
    stored = msgspec.json.decode(row.request, type=StoredRequest)
    route = acts.get(stored.route)
    if route is None or route.body is None:
        raise ApprovalEnded("This version of the service has no such action any more.")
    requester = Administrator(
        row.requested_by, Role.ADMIN, 0, issued_at=row.token_issued_at, token_id=row.token_id
    )
    act = ApprovedAct(
        deps=deps,
        approval=row,
        requester=requester,
        approver=approver,
        shows_secret=route.shows_secret,
    )
    body = decode(bytes(stored.body), route.body)
    _ignore_key()
    try:
        reply = await route.handler(
            deps, administrator=act.administrator, body=body, **stored.variables
        )
    except OF_LIMITS as refused:
        await record_limit(
            deps,
            approver,
            refused,
            subject=str(row.id),
            summary=row.summary,
            details=parties(row) | {"approved_by": approver.subject},
        )
        raise
    assert act.finished, f"{stored.route} does not record what it does"
    return reply if isinstance(reply, Response) else response_of(reply)


def _ignore_key() -> None:
    """Forget the Idempotency-Key of the request that approves: it is none of the act's."""
    request = current_request()
    names = request.headers.keys() - {HEADER.lower()}
    request.headers = {name: request.headers[name] for name in names}


async def _stored_reply(deps: Dependencies, row: ApprovalRow) -> Response:
    assert row.reply_status is not None
    assert row.reply_type is not None
    content = row.reply
    if content is None:
        async with deps.database.connection() as conn:
            sealed = await approvals.secret_reply(conn, row.id)
        if sealed is None:
            raise ApprovalEnded("Its reply has a secret, and is not kept any more.")
        content = deps.secret_box.open(sealed, about=approvals.about(str(row.id)))
    return Response(content, row.reply_status, {"Content-Type": row.reply_type})


def _may_see_reply(row: ApprovalRow, administrator: Administrator) -> bool:
    """Return whether there is a reply, and the administrator has requested or approved it."""
    return row.state in HAS_REPLY and any(
        _same_person(each, administrator.subject)
        for each in (row.requested_by, row.decided_by)
        if each is not None
    )


def _same_person(one: str, other: str) -> bool:
    return person(one) == person(other)


def _unknown(approval: UUID) -> NotFound:
    return NotFound(f"There is no approval {approval}. GET /api/admin/approvals lists them.")
