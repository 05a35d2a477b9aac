"""An office in which two administrators have to agree, and its requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from cryptography.fernet import Fernet

from cvms.config.admin_settings import AdminSettings
from cvms.http.framework.admin_tokens import Role, mint
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.admin.test_admin_routes import SECRET, ask
from tests.http.wallets import rows

APPROVALS = "/api/admin/approvals"
KEY = Fernet.generate_key()


@asynccontextmanager
async def two_people(database_url: str, localnet: Localnet, **admin: Any) -> AsyncIterator[Service]:
    """Run the front end alone, on a real chain whose governance is the operator."""
    async with running(
        database_url,
        **localnet.settings,
        admin_jwt_secret=SECRET,
        data_encryption_keys=(KEY,),
        admin=AdminSettings(**({"approvals": 2} | admin)),
    ) as service:
        yield service


def token_of(name: str, role: Role = Role.ADMIN, token_id: str | None = None) -> str:
    return mint(SECRET, subject=name, role=role, seconds=600, token_id=token_id)


async def requested(
    office: Service, path: str, body: Json, *, by: str = "carol", token_id: str | None = None
) -> Json:
    """Request an action, which waits, and return its approval."""
    reply = await ask(office, "POST", path, body, token_of(by, token_id=token_id))
    assert (reply.status_code, reply.json().get("mode")) == (202, "approval"), reply.text
    approval: Json = reply.json()["approval"]
    assert approval["status"] == "pending"
    return approval


async def decide(
    office: Service, approval: Json, what: str = "approve", *, by: str = "bob", **options: Any
) -> httpx.Response:
    path = f"{APPROVALS}/{approval['id']}/{what}"
    return await ask(office, "POST", path, bearer=token_of(by, **options))


async def status_of(office: Service, approval: Json) -> str:
    reply = await ask(
        office, "GET", f"{APPROVALS}/{approval['id']}", bearer=token_of("eve", Role.VIEWER)
    )
    assert reply.status_code == 200, reply.text
    status: str = reply.json()["status"]
    return status


async def submissions(office: Service) -> list[dict[str, Any]]:
    return await rows(office, "SELECT kind, owner, amount, state FROM submissions ORDER BY 2, 3")


async def alert_kinds(office: Service, approval: Json) -> list[tuple[str, str]]:
    """Return kind and severity of each alert about an approval, oldest first."""
    found = await rows(office, "SELECT kind, severity, subject FROM alerts ORDER BY id")
    return [(row["kind"], row["severity"]) for row in found if row["subject"] == approval["id"]]
