"""Every route of the console asks for a token, and for the role that it names."""

from __future__ import annotations

import re

from cvms.http.admin.console import (
    audit_routes,
    chart_routes,
    overview_routes,
    program_routes,
    settings_routes,
    silence_routes,
    vault_search_routes,
)
from cvms.http.framework.admin_tokens import Role
from cvms.http.framework.routing import action_of
from tests.harness.service import Service
from tests.http.admin.test_admin_routes import ask, token
from tests.http.wallets import rows

ROUTES = (
    *audit_routes.ROUTES,
    *chart_routes.ROUTES,
    *overview_routes.ROUTES,
    *program_routes.program_routes(),
    *settings_routes.ROUTES,
    *silence_routes.ROUTES,
    *vault_search_routes.ROUTES,
)


async def test_nobody_gets_in_without_a_token_of_the_role(office: Service) -> None:
    for route in ROUTES:
        path = re.sub(r"<\w+>", "x", route.rule) + "?unknown=1"
        missing = await ask(office, route.method, path, {})
        assert (missing.status_code, missing.json()["code"]) == (401, "invalid_token"), path
        for role in Role:
            reply = await ask(office, route.method, path, {"unknown": 1}, token(role))
            assert (reply.status_code == 403) == (role < route.role), (path, role)
        assert route.role <= Role.OPERATOR
    trail = await rows(office, "SELECT DISTINCT action FROM audit_logs WHERE outcome = 'refused'")
    changing = {action_of(route) for route in ROUTES if route.role is Role.OPERATOR}
    assert {each["action"] for each in trail} == changing
    assert len(changing) == 2


async def test_every_request_to_read_is_in_the_audit_trail(office: Service) -> None:
    await ask(office, "GET", "/api/admin/settings", bearer=token(Role.VIEWER))
    await ask(office, "POST", "/api/admin/audit/verify", bearer=token(Role.VIEWER))
    trail = await rows(office, "SELECT actor, action FROM audit_logs ORDER BY id")
    assert trail == [
        {"actor": "admin:carol", "action": "get_api_admin_settings"},
        {"actor": "admin:carol", "action": "audit_verify"},
    ]
