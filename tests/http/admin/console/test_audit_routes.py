"""The audit trail is exported line by line, and its chain of hashes is checked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import trio
from solders.pubkey import Pubkey

from cvms.http.framework.admin_tokens import Role
from cvms.store.security import audit_log, audit_verification
from tests.harness.service import Json, Service
from tests.http.admin.console.asking import refused, shown
from tests.http.admin.test_admin_routes import ask, token

OWNER = str(Pubkey.new_unique())
EXPORT, VERIFY = "/api/admin/audit/export", "/api/admin/audit/verify"
ENTRIES = 9
AT_ONCE = "cvms.http.admin.console.audit_routes.ENTRIES_AT_ONCE"


async def record(service: Service, count: int, *, owner: str | None = None) -> None:
    async with service.database.transaction() as conn:
        for number in range(count):
            await audit_log.record(
                conn, actor="a", action="deposit", owner=owner, details={"number": number}
            )


async def exported(service: Service, query: str = "") -> list[Any]:
    reply = await ask(service, "GET", EXPORT + query, bearer=token(Role.VIEWER))
    assert (reply.status_code, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
    return [msgspec.json.decode(line) for line in reply.content.splitlines()]


async def verified(service: Service, query: str = "") -> Json:
    reply = await ask(service, "POST", VERIFY + query, bearer=token(Role.VIEWER))
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


async def test_the_whole_trail_is_exported_newest_first(
    office: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AT_ONCE, 2)
    await record(office, ENTRIES)
    await record(office, 3, owner=OWNER)
    entries = await exported(office)
    assert [each["id"] for each in entries] == [*range(ENTRIES + 4, 0, -1)]
    newest = (await shown(office, f"/api/admin/audit?owner={OWNER}"))["entries"]
    assert await exported(office, f"?owner={OWNER}") == newest
    assert [each["id"] for each in await exported(office, "?cursor=9&limit=6")] == [
        8,
        7,
        6,
        5,
        4,
        3,
    ]
    assert await exported(office, "?action=nothing") == []
    for query in ("owner=x", "action=%27", "cursor=0", "limit=0", "since=1"):
        assert await refused(office, f"{EXPORT}?{query}") == (400, "invalid_request")


async def test_an_altered_entry_is_found(office: Service) -> None:
    await record(office, ENTRIES)
    right = await verified(office)
    assert (right["entries"], right["verified_to"]) == (ENTRIES + 1, ENTRIES + 1)
    assert (right["equal"], right["fault"], len(right["head"])) == (True, None, 64)
    assert (await verified(office, "?after=8"))["equal"] is True

    async with office.database.transaction() as conn:
        await conn.execute("UPDATE audit_logs SET actor = 'b' WHERE id = 7")
    wrong = await verified(office)
    assert (wrong["equal"], wrong["verified_to"]) == (False, 6)
    assert wrong["fault"] == "entry 7 of the audit trail was changed or removed"
    assert (await verified(office, "?after=7"))["equal"] is True
    async with office.database.transaction() as conn:
        await conn.execute("DELETE FROM audit_logs WHERE id = (SELECT max(id) FROM audit_logs)")
    assert (await verified(office, "?after=7"))["equal"] is False
    assert (await verified(office, f"?after={2**63 - 1}"))["equal"] is False
    reply = await ask(office, "POST", f"{VERIFY}?after=-1", bearer=token())
    assert reply.status_code == 400


async def test_a_check_that_takes_too_long_says_how_far_it_came(
    office: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await record(office, 3)
    async with office.database.snapshot() as conn:
        found = await audit_verification.verify_after(conn, 0, until=trio.current_time())
    assert (found.verified_to, found.complete, found.broken) == (1, False, None)
    monkeypatch.setattr("cvms.http.admin.console.audit_routes.VERIFY_SECONDS", 0.0)
    part = await verified(office)
    assert (part["verified_to"], part["equal"], part["fault"]) == (1, None, None)
