"""The route that shows how this process is configured."""

from __future__ import annotations

import msgspec

from cvms.http.admin.console.setting_values import ShownSetting, shown_settings
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


class Settings(msgspec.Struct, frozen=True):
    """Every setting, in the order of the README."""

    settings: list[ShownSetting]


@ROUTES.get("/api/admin/settings", replies={200: Settings})
async def list_settings(deps: Dependencies, administrator: Administrator) -> Reply:
    """List the settings in effect.

    Those of the process that answers, without secrets: their `value` is null, and that of a URL has
    neither user, password, path nor query.
    """
    return Reply(Settings(shown_settings(deps.config)))
