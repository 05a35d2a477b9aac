"""Routes of administrators that list, show and settle submissions of unknown outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from cvms.errors import Conflict, NotFound, SettlementContradicted
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import response_of
from cvms.http.framework.request import Body, Limit, Reason
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.settlement import gathering, settling
from cvms.settlement.evidence import Evidence, ListedSubmission, Outcome, Unsettled
from cvms.settlement.gathering import EvidenceSources
from cvms.settlement.settling import Settlement
from cvms.store.alerts.lifecycle import alert_webhook
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import settlements
from cvms.store.submissions.submissions import State

EVIDENCE_SECONDS = 5.0
"""For each endpoint, and again for the owner's other transactions: a request has 15 seconds."""

ROUTES = RouteGroup("administration", auth=Auth.ADMIN)

SubmissionId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class SubmissionsQuery(Body, frozen=True):
    state: Unsettled = "quarantined"
    cursor: SubmissionId | None = None
    limit: Limit = 50


class Submissions(msgspec.Struct, frozen=True, kw_only=True):
    """A page of submissions, newest first. `next_cursor` is null on the last page."""

    submissions: list[ListedSubmission]
    next_cursor: str | None


class SettlementBody(Body, frozen=True):
    outcome: Outcome
    reason: Reason
    force: bool = False


@dataclass(frozen=True, slots=True)
class _AdministratorsAct:
    """Uses the administrator's token for a settlement, and another one's approval of it."""

    administrator: Administrator

    async def begin(self, conn: Connection) -> None:
        await self.administrator.act.consume(conn)

    async def finish(self, conn: Connection, settled: ListedSubmission) -> Mapping[str, Any]:
        return await self.administrator.act.finish(conn, response_of(Reply(settled)))


@ROUTES.get("/api/admin/submissions", replies={200: Submissions}, role=Role.VIEWER)
async def list_submissions(
    deps: Dependencies, query: SubmissionsQuery, administrator: Administrator
) -> Reply:
    """List the quarantined submissions.

    Returns a page, newest first, of those whose outcome is unknown, or of those in flight in
    another `state`. Pass its `next_cursor` as `cursor` to get the page after it.
    """
    before = None if query.cursor is None else bytes.fromhex(query.cursor)
    async with deps.database.connection() as conn:
        rows = await settlements.page(
            conn, state=State(query.state), limit=query.limit, before=before
        )
    found = [gathering.listed(row) for row in rows]
    next_cursor = found[-1].id if len(found) == query.limit else None
    return Reply(Submissions(submissions=found, next_cursor=next_cursor))


@ROUTES.get(
    "/api/admin/submissions/<submission_id>",
    replies={200: Evidence},
    refusals=(NotFound,),
    role=Role.VIEWER,
)
async def get_submission(
    deps: Dependencies, submission_id: str, administrator: Administrator
) -> Reply:
    """Get the evidence of a submission.

    Named by its `id` or its signature. Every RPC endpoint is asked for the transaction's status
    and, while it is quarantined, for the blocks that could contain it. What an endpoint has not
    said after five seconds is left out; `cvms submissions show` waits longer.
    """
    row = await gathering.find(deps.database, submission_id)
    return Reply(await gathering.gather(_sources(deps), row))


@ROUTES.post(
    "/api/admin/submissions/<submission_id>/settle",
    replies={200: ListedSubmission},
    refusals=(NotFound, Conflict, SettlementContradicted),
    needs_approval=settling.ACTION,
)
async def settle_submission(
    deps: Dependencies, submission_id: str, body: SettlementBody, administrator: Administrator
) -> Reply:
    """Settle a quarantined submission.

    Records what became of it: `finalized`, `failed`, or `expired` if it is in no block. The
    evidence is gathered again, and goes to the audit trail with the reason. An outcome that it
    contradicts is refused, unless `force` is set. Only the first settlement counts. It ends the
    alert; `expired` refunds the fee to the owner's budget.
    """
    settlement = Settlement(
        outcome=body.outcome,
        reason=body.reason.strip(),
        actor=administrator.actor,
        force=body.force,
        act=_AdministratorsAct(administrator),
    )
    hook = alert_webhook(deps.config.alerts.webhook_minimum)
    settled = await settling.settle(_sources(deps), submission_id, settlement, hook=hook)
    deps.metrics.submissions.states.labels(state=settled.state).inc()
    return Reply(settled)


def _sources(deps: Dependencies) -> EvidenceSources:
    return EvidenceSources(
        database=deps.database, rpc=deps.rpc, programs=deps.programs, seconds=EVIDENCE_SECONDS
    )
