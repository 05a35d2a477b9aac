"""Requests of administrators."""

from __future__ import annotations

from cvms.http.framework.admin_tokens import Role
from tests.harness.service import Json, Service
from tests.http.admin.test_admin_routes import ask, token


async def shown(service: Service, path: str) -> Json:
    """Return what a viewer is shown."""
    reply = await ask(service, "GET", path, bearer=token(Role.VIEWER))
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


async def refused(service: Service, path: str) -> tuple[int, str]:
    """Return the status and the code of a refusal."""
    reply = await ask(service, "GET", path, bearer=token(Role.VIEWER))
    return reply.status_code, reply.json()["code"]
