"""Routes whose requests wait for a second administrator, as their declarations say.

A request is stored as canonical JSON of its route and its validated body. Approving it calls the
route's handler with that body and the requester as administrator, which checks everything again.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import wraps
from typing import Any
from uuid import uuid4

import msgspec

from cvms.config.webhook_url import target_of
from cvms.errors import CvmsError, TooManyApprovals, TransferLimitReached, TransferNotAllowed
from cvms.http.framework.admin_tokens import Administrator, person
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import problem_of, response_of
from cvms.http.framework.request import Body, WholeNumber, current_request
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Handler, Route
from cvms.http.framework.schemas import AdminApproval, ApprovalRequested
from cvms.http.operations.admin_acts import (
    REFUSED,
    REQUESTED,
    AloneAct,
    body_hash,
    parties,
    raise_alert,
    record_decision,
)
from cvms.http.operations.idempotency import IdempotencyKey, replay_or_run
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import approvals, audit_log
from cvms.store.security.approvals import ApprovalRow

LIFETIME = timedelta(hours=1)
MAX_PENDING = 20
"""Requests of one person that wait at the same time. Each raises an alert."""
KEY_HOLDER = "admin:approvals"
"""Whose the Idempotency-Keys of requests are that wait for an approval."""
OF_LIMITS = (TransferLimitReached, TransferNotAllowed)
"""Refusals by settings that administrators must hear of."""


class StoredRequest(msgspec.Struct, frozen=True):
    """A request: the method and rule of its route, the variables of its path, and its body."""

    route: str
    variables: dict[str, str]
    body: msgspec.Raw


@dataclass(frozen=True, slots=True)
class GuardedRoutes:
    """The routes of an application, those that need approval behind their guards."""

    routes: tuple[Route, ...]
    acts: Mapping[str, Route]
    """The routes that need approval without their guards, by method and rule."""


def guard(routes: Iterable[Route]) -> GuardedRoutes:
    """Let requests that need approval wait for it."""
    every = tuple(routes)
    acts = {key_of(route): route for route in every if route.needs_approval}
    return GuardedRoutes(
        tuple(_guarded(route) if route.needs_approval else route for route in every), acts
    )


def _guarded(route: Route) -> Route:
    @wraps(route.handler)
    async def handler(
        deps: Dependencies, *, administrator: Administrator | None, body: Body, **variables: str
    ) -> Reply | Response:
        if administrator is None or not await _exposes(deps, route, body):
            return await route.handler(deps, administrator=administrator, body=body, **variables)
        if deps.config.admin.approvals > 1:
            return await _request_approval(deps, route, administrator, body, variables)
        return await _act_alone(deps, route, administrator, body, variables)

    answers: Handler = handler
    return replace(
        route,
        handler=answers,
        replies={202: ApprovalRequested} | dict(route.replies),
        refusals=(*route.refusals, TooManyApprovals),
    )


async def _exposes(deps: Dependencies, route: Route, body: Body) -> bool:
    return route.exposes is None or await route.exposes(deps, body)


async def _act_alone(
    deps: Dependencies,
    route: Route,
    administrator: Administrator,
    body: Body,
    variables: Mapping[str, str],
) -> Reply | Response:
    act = AloneAct(
        deps=deps,
        subject=f"request:{current_request().id}",
        action=route.needs_approval,
        summary=_summary(route, body, variables),
        requester=administrator.subject,
    )
    try:
        return await route.handler(
            deps, administrator=replace(administrator, act=act), body=body, **variables
        )
    except OF_LIMITS as refused:
        await record_limit(
            deps,
            administrator,
            refused,
            subject=act.subject,
            summary=act.summary,
            details={"action": act.action, "requested_by": act.requester},
        )
        raise


async def _request_approval(
    deps: Dependencies,
    route: Route,
    administrator: Administrator,
    body: Body,
    variables: Mapping[str, str],
) -> Reply | Response:
    text = _canonical(route, body, variables)

    async def run(key: IdempotencyKey | None) -> Reply:
        async def add(conn: Connection) -> Reply:
            await _require_room(conn, administrator)
            row = await approvals.add(
                conn,
                id=uuid4(),
                action=route.needs_approval,
                summary=_summary(route, body, variables),
                request=text,
                requested_by=administrator.subject,
                token_id=administrator.token_id,
                token_issued_at=administrator.issued_at,
                lifetime=LIFETIME,
            )
            reply = Reply(ApprovalRequested(approval=approval_view(row)), 202)
            if key is not None:
                await key.store(conn, response_of(reply))
            await raise_alert(
                conn,
                deps,
                REQUESTED,
                subject=str(row.id),
                summary=row.summary,
                details=parties(row) | {"expires_at": row.expires_at.isoformat()},
            )
            await record_decision(conn, administrator, row, "approval_request")
            return reply

        return await deps.database.transact(add)

    if not route.idempotent:
        return await run(None)
    return await replay_or_run(deps, KEY_HOLDER, run)


async def _require_room(conn: Connection, administrator: Administrator) -> None:
    """Raise TooManyApprovals unless the administrator may request something more."""
    name = person(administrator.subject)
    pending = await approvals.lock_pending(conn)
    own = [each for each in pending if person(each.requested_by) == name]
    if len(own) >= MAX_PENDING:
        raise TooManyApprovals(
            f"{len(own)} requests of {administrator.subject} wait for approval, and no more may. "
            "Withdraw one, or have one decided.",
            retry_after=own[0].seconds_left,
        )


def approval_view(row: ApprovalRow) -> AdminApproval:
    """Return an approval as replies show it."""
    return AdminApproval(
        id=str(row.id),
        action=row.action,
        summary=row.summary,
        body_hash=body_hash(row),
        requested_by=row.requested_by,
        requested_at=row.requested_at,
        expires_at=row.expires_at,
        status=row.state,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
    )


async def record_limit(
    deps: Dependencies,
    administrator: Administrator,
    refused: CvmsError,
    *,
    subject: str,
    summary: str,
    details: Mapping[str, Any],
) -> None:
    """Tell of an act that the settings refuse; it may be tried again."""
    problem = problem_of(refused)
    details = {**details, "reason": str(refused)}
    async with deps.database.transaction() as conn:
        await raise_alert(conn, deps, REFUSED, subject=subject, summary=summary, details=details)
        await audit_log.record(
            conn,
            actor=administrator.actor,
            action=details["action"],
            owner=None,
            outcome="refused",
            details=details | {"problem": None if problem is None else problem.code},
        )


def _canonical(route: Route, body: Body, variables: Mapping[str, str]) -> str:
    content = msgspec.Raw(msgspec.json.encode(body, enc_hook=_plain, order="deterministic"))
    stored = StoredRequest(key_of(route), dict(variables), content)
    return msgspec.json.encode(stored, order="deterministic").decode()


def _summary(route: Route, body: Body, variables: Mapping[str, str]) -> str:
    """Return the route's summary and what the request says, without what must not be shown."""
    title = (inspect.getdoc(route.handler) or "").partition("\n")[0].removesuffix(".")
    fields = dict(variables) | msgspec.to_builtins(body, enc_hook=_plain)
    shown = [f"{name}={_shown(name, value)}" for name, value in fields.items() if value is not None]
    return ": ".join(filter(None, [title, ", ".join(shown)]))


def _shown(name: str, value: Any) -> str:
    # Whoever knows a webhook's URL can often post to it.
    text = target_of(value, private=True).host if name == "url" else value
    return msgspec.json.encode(text).decode()


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, WholeNumber) else str(value)


def key_of(route: Route) -> str:
    """Return what names a route in stored requests."""
    return f"{route.method} {route.rule}"
