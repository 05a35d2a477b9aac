"""The route that shows the state of the service at a glance."""

from __future__ import annotations

from cvms.http.admin.console.overview import read_overview
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.nursery.channels.operations_overview import OperationsOverview

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


@ROUTES.get("/api/admin/overview", replies={200: OperationsOverview})
async def get_operations_overview(deps: Dependencies, administrator: Administrator) -> Reply:
    """Get the overview of the service.

    Returns the components, checks, warnings and endpoints of the process that answers, the totals,
    alerts and submissions of all, and the processes that were alive within the last minute. The
    WebSocket topic `operations` sends the same.
    """
    return Reply(await read_overview(deps))
