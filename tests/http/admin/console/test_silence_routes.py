"""A silenced alert stays visible and sends no webhook, until its severity rises."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import msgspec

from cvms.http.framework.admin_tokens import Role
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.lifecycle import AlertWebhook
from tests.harness.service import Json, Service
from tests.http.admin.test_admin_routes import ask, token
from tests.http.admin.test_alert_routes import listed
from tests.http.wallets import rows

HOUR = {"minutes": 60, "reason": "a node is replaced"}


async def observe(service: Service, severity: Severity = Severity.WARNING) -> None:
    seen = Observation(
        kind="part_down",
        subject="rpc",
        severity=severity,
        summary="It is so",
        details={},
        away=timedelta(hours=1),
    )
    async with service.database.transaction() as conn:
        await alerts.lock(conn)
        await lifecycle.observe(conn, [seen], hook=AlertWebhook())


async def resolve(service: Service) -> None:
    found = await rows(service, "SELECT id FROM alerts WHERE resolved_at IS NULL")
    async with service.database.transaction() as conn:
        await lifecycle.resolve(conn, [each["id"] for each in found], hook=AlertWebhook())


async def pass_time(service: Service) -> None:
    """Let every silence run out."""
    async with service.database.transaction() as conn:
        await conn.execute("UPDATE alerts SET silenced_until = now() - INTERVAL '1 s'")


async def sent(service: Service) -> list[tuple[str, str]]:
    """Return the type and the severity of what goes to the operators' webhook."""
    stored = await rows(service, "SELECT body FROM webhook_deliveries ORDER BY created_at, tries")
    bodies = [msgspec.json.decode(each["body"]) for each in stored]
    return [(each["type"], each["data"]["severity"]) for each in bodies]


async def change(service: Service, verb: str, body: Json | None = None) -> httpx.Response:
    [alert, *_] = (await listed(service))["alerts"]
    path = f"/api/admin/alerts/{alert['id']}/{verb}"
    return await ask(service, "POST", path, body, token(Role.OPERATOR))


async def test_a_silenced_alert_sends_no_webhook_until_it_is_worse(office: Service) -> None:
    await observe(office)
    raised = [("alert.raised", "warning")]
    assert await sent(office) == raised
    silenced = (await change(office, "silence", HOUR)).json()
    assert (silenced["silenced_by"], silenced["silence_reason"]) == (
        "admin:carol",
        HOUR["reason"],
    )
    await resolve(office)
    await observe(office)  # it flaps
    [again, _] = (await listed(office))["alerts"]
    assert (again["state"], again["silenced_until"]) == ("open", silenced["silenced_until"])
    assert await sent(office) == raised

    await observe(office, Severity.CRITICAL)
    raised.append(("alert.raised", "critical"))
    assert await sent(office) == raised
    [worse, _] = (await listed(office))["alerts"]
    assert (worse["silenced_until"], worse["silenced_by"], worse["silence_reason"]) == (None,) * 3
    await resolve(office)
    assert await sent(office) == [*raised, ("alert.resolved", "critical")]


async def test_a_new_alert_that_is_worse_than_the_silenced_one_is_sent(office: Service) -> None:
    await observe(office)
    await change(office, "silence", HOUR)
    await resolve(office)
    await observe(office, Severity.CRITICAL)
    assert await sent(office) == [("alert.raised", "warning"), ("alert.raised", "critical")]


async def test_an_alert_that_outlasts_its_silence_is_sent_again(office: Service) -> None:
    await observe(office)
    await change(office, "silence", HOUR)
    await observe(office)
    assert len(await sent(office)) == 1
    await pass_time(office)
    await observe(office)
    assert await sent(office) == [("alert.raised", "warning")] * 2
    await observe(office)
    assert len(await sent(office)) == 2
    told = await rows(office, "SELECT data FROM outbox WHERE topic = 'security_alert' ORDER BY seq")
    assert [each["data"]["silenced_by"] for each in told] == [None, "admin:carol", None]


async def test_a_silence_can_be_ended_and_is_audited(office: Service) -> None:
    await observe(office)
    viewer = token(Role.VIEWER)
    [alert] = (await listed(office))["alerts"]
    path = f"/api/admin/alerts/{alert['id']}"
    for verb, body in (("silence", HOUR), ("unsilence", None)):
        refused = await ask(office, "POST", f"{path}/{verb}", body, viewer)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert (await change(office, "silence", HOUR)).status_code == 200
    ended = await change(office, "unsilence")
    assert (ended.status_code, ended.json()["silenced_until"]) == (200, None)
    trail = await rows(
        office,
        "SELECT action, details FROM audit_logs WHERE outcome = 'accepted' AND action ~ 'silence'",
    )
    assert [each["action"] for each in trail] == ["alert_silence", "alert_unsilence"]
    assert trail[0]["details"].items() >= {**HOUR, "alert": alert["id"]}.items()
    await resolve(office)
    late = await change(office, "silence", HOUR)
    assert (late.status_code, late.json()["code"]) == (409, "conflict")


async def test_a_bad_silence_is_refused(office: Service) -> None:
    await observe(office)
    bad: list[Any] = [
        {},
        {"minutes": 0, "reason": "x"},
        {"minutes": 10_081, "reason": "x"},
        {"minutes": "60", "reason": "x"},
        {"minutes": 60, "reason": ""},
        {"minutes": 60, "reason": "\0"},
        {"minutes": 60, "reason": "x" * 501},
        {**HOUR, "until": 1},
    ]
    for body in bad:
        reply = await change(office, "silence", body)
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), body
    for number in ("0", "77", "x", "9" * 400):
        for verb, given in (("silence", HOUR), ("unsilence", None)):
            path = f"/api/admin/alerts/{number}/{verb}"
            reply = await ask(office, "POST", path, given, token())
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), number
