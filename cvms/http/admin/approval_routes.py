"""Routes by which administrators approve what other administrators have requested."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec

from cvms.errors import ApprovalEnded, NotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Limit, Uuid
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, Route, RouteGroup
from cvms.http.framework.schemas import AdminApproval, ApprovalState
from cvms.http.operations import approval_decisions as decisions
from cvms.http.operations.approvals import approval_view
from cvms.store.security import approvals

Answer = dict[str, Any]
"""The ordinary reply of whatever route was requested."""


class ApprovalsQuery(Body, frozen=True):
    status: ApprovalState | None = None
    cursor: Uuid | None = None
    limit: Limit = 50


class AdminApprovals(msgspec.Struct, frozen=True, kw_only=True):
    """A page of approvals, newest first. `next_cursor` is null on the last page."""

    approvals: list[AdminApproval]
    next_cursor: str | None


def approval_routes(acts: Mapping[str, Route]) -> Iterator[Route]:
    """Yield the routes that approve these acts, given by method and rule."""
    routes = RouteGroup("administration", auth=Auth.ADMIN)
    statuses = sorted({status for route in acts.values() for status in route.replies})
    refusals = {each: None for route in acts.values() for each in route.refusals}

    @routes.get("/api/admin/approvals", replies={200: AdminApprovals}, role=Role.VIEWER)
    async def list_approvals(
        deps: Dependencies, query: ApprovalsQuery, administrator: Administrator
    ) -> Reply:
        """List the actions that need approval.

        Returns a page, newest first, of one `status` if given. Pass its `next_cursor` as `cursor`
        to get the page after it. Approvals are kept for 90 days.
        """
        before = None if query.cursor is None else UUID(query.cursor)
        async with deps.database.connection() as conn:
            rows = await approvals.page(conn, limit=query.limit, state=query.status, before=before)
        next_cursor = str(rows[-1].id) if len(rows) == query.limit else None
        shown = [approval_view(row) for row in rows]
        return Reply(AdminApprovals(approvals=shown, next_cursor=next_cursor))

    @routes.get(
        "/api/admin/approvals/<approval_id>",
        replies={200: AdminApproval},
        refusals=(NotFound,),
        role=Role.VIEWER,
    )
    async def get_approval(
        deps: Dependencies, approval_id: str, administrator: Administrator
    ) -> Reply:
        """Get an action that needs approval."""
        return Reply(approval_view(await decisions.get(deps, _id_in_path(approval_id))))

    @routes.post(
        "/api/admin/approvals/<approval_id>/approve",
        replies=dict.fromkeys(statuses, Answer),
        refusals=(NotFound, ApprovalEnded, *refusals),
        sensitive=True,
    )
    async def approve_action(
        deps: Dependencies, approval_id: str, administrator: Administrator
    ) -> Response:
        """Approve the action of another administrator.

        Executes it once, as it was requested and as the state is now, and returns the reply of its
        own route. Asked again, by who has requested or approved it, the reply is the same. What
        fails for another reason than a refusal by the chain may be approved again.
        """
        return await decisions.approve(deps, acts, administrator, _id_in_path(approval_id))

    @routes.post(
        "/api/admin/approvals/<approval_id>/reject",
        replies={200: AdminApproval},
        refusals=(NotFound, ApprovalEnded),
    )
    async def reject_action(
        deps: Dependencies, approval_id: str, administrator: Administrator
    ) -> Reply:
        """Reject the action of another administrator."""
        row = await decisions.decline(deps, administrator, _id_in_path(approval_id), "rejected")
        return Reply(approval_view(row))

    @routes.post(
        "/api/admin/approvals/<approval_id>/withdraw",
        replies={200: AdminApproval},
        refusals=(NotFound, ApprovalEnded),
    )
    async def withdraw_action(
        deps: Dependencies, approval_id: str, administrator: Administrator
    ) -> Reply:
        """Withdraw an action that waits for approval."""
        row = await decisions.decline(deps, administrator, _id_in_path(approval_id), "withdrawn")
        return Reply(approval_view(row))

    yield from routes


def _id_in_path(text: str) -> UUID:
    """Return the id of an approval in a path. Raises NotFound if it is not an id."""
    try:
        return UUID(msgspec.convert(text, Uuid))
    except msgspec.ValidationError:
        raise NotFound("The path must contain the id of an approval.") from None
