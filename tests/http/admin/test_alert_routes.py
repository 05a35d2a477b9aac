"""Alerts are for administrators: listed, acknowledged, and sent live until a token expires."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio_websocket

from cvms.http.framework.admin_tokens import Role
from cvms.store.alerts import alerts, lifecycle
from cvms.store.alerts.alerts import Observation, Severity
from cvms.store.alerts.lifecycle import AlertWebhook
from cvms.store.messaging.outbox import OutboxMessage
from tests.harness.service import Json, Service, event, frame, running, subscribe
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.wallets import rows
from tests.websockets import opened

TOPIC = "security_alert"


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Service]:
    """Run the front end alone, with a secret and a clock that a test may move."""
    async with running(database_url, admin_jwt_secret=SECRET, wall_clock=_clock) as service:
        _offset[0] = 0.0
        yield service


_offset = [0.0]


def _clock() -> float:
    return time.time() + _offset[0]


async def observe(service: Service, kind: str, number: int, **changes: Any) -> None:
    given: dict[str, Any] = {
        "kind": kind,
        "subject": f"subject {number}",
        "severity": Severity.WARNING,
        "summary": "Something is so",
        "details": {"number": number},
    }
    async with service.database.transaction() as conn:
        await alerts.lock(conn)
        await lifecycle.observe(conn, [Observation(**(given | changes))], hook=None)


async def listed(service: Service, query: str = "") -> Json:
    reply = await ask(service, "GET", f"/api/admin/alerts{query}", bearer=token(Role.VIEWER))
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


async def test_alerts_are_listed_newest_first_by_state_and_severity(office: Service) -> None:
    for number in range(5):
        severity = Severity.CRITICAL if number == 2 else Severity.INFO
        await observe(office, "low_balance", number, severity=severity, owner=f"owner {number}")
    first = await listed(office, "?limit=2")
    assert [each["subject"] for each in first["alerts"]] == ["subject 4", "subject 3"]
    second = await listed(office, f"?limit=2&cursor={first['next_cursor']}")
    assert [each["details"]["number"] for each in second["alerts"]] == [2, 1]
    last = await listed(office, f"?limit=2&cursor={second['next_cursor']}")
    assert (len(last["alerts"]), last["next_cursor"]) == (1, None)

    [critical] = (await listed(office, "?severity=critical"))["alerts"]
    assert (critical["owner"], critical["state"], critical["count"]) == ("owner 2", "open", 1)
    path = f"/api/admin/alerts/{critical['id']}/acknowledge"
    reply = await ask(office, "POST", path, bearer=token(Role.OPERATOR))
    assert reply.json()["state"] == "acknowledged"
    assert [each["id"] for each in (await listed(office, "?state=acknowledged"))["alerts"]] == [
        critical["id"]
    ]
    assert len((await listed(office, "?state=open"))["alerts"]) == 4
    assert (await listed(office, "?state=resolved"))["alerts"] == []
    assert (await listed(office, "?state=open&severity=critical"))["alerts"] == []


async def test_an_invalid_query_is_refused(office: Service) -> None:
    for query in ("state=new", "severity=3", "cursor=0", "cursor=x", "limit=0", "colour=red"):
        reply = await ask(office, "GET", f"/api/admin/alerts?{query}", bearer=token())
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), query


async def test_the_first_acknowledgement_is_recorded_and_audited(office: Service) -> None:
    await observe(office, "part_down", 1)
    [alert] = (await listed(office))["alerts"]
    path = f"/api/admin/alerts/{alert['id']}/acknowledge"
    refused = await ask(office, "POST", path, bearer=token(Role.VIEWER))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    for name in ("alice", "bob"):
        reply = await ask(office, "POST", path, bearer=token(Role.OPERATOR, sub=name))
        assert (reply.status_code, reply.json()["acknowledged_by"]) == (200, "admin:alice")
    trail = await rows(
        office, "SELECT actor, outcome FROM audit_logs WHERE action = 'alert_acknowledge'"
    )
    assert [each["actor"] for each in trail] == ["admin:alice", "admin:bob"]
    told = await rows(office, "SELECT data FROM outbox WHERE topic = 'security_alert' ORDER BY seq")
    assert [each["data"]["state"] for each in told] == ["open", "acknowledged"]  # not twice


async def test_an_unknown_alert_is_not_found(office: Service) -> None:
    for name in ("0", "77", "-1", "x", "1.0", "9" * 19, "9" * 400, "٣"):
        reply = await ask(office, "POST", f"/api/admin/alerts/{name}/acknowledge", bearer=token())
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), name
    assert await rows(office, "SELECT 1 FROM audit_logs WHERE action = 'alert_acknowledge'") == []


async def test_acknowledging_resolves_an_alert_that_only_a_person_can_resolve(
    office: Service,
) -> None:
    await observe(office, "books_differ", 1)
    [alert] = (await listed(office))["alerts"]
    path = f"/api/admin/alerts/{alert['id']}/acknowledge"
    reply = await ask(office, "POST", path, bearer=token(Role.OPERATOR))
    assert (reply.json()["state"], reply.json()["resolved_at"] is not None) == ("resolved", True)
    await observe(office, "books_differ", 1)  # the next difference is another alert
    assert [each["state"] for each in (await listed(office))["alerts"]] == ["open", "resolved"]


async def test_resolving_and_acknowledging_at_once_sends_one_resolution(office: Service) -> None:
    await observe(office, "books_differ", 1)
    [alert] = (await listed(office))["alerts"]

    async def acknowledge() -> None:
        async with office.database.transaction() as conn:
            await lifecycle.acknowledge(conn, alert["id"], by="admin:x", hook=AlertWebhook())

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(acknowledge)
    told = await rows(office, "SELECT data FROM outbox WHERE topic = 'security_alert' ORDER BY seq")
    assert [each["data"]["state"] for each in told] == ["open", "resolved"]
    assert len(await rows(office, "SELECT 1 FROM webhook_deliveries")) == 1


# --- live ----------------------------------------------------------------------------------------


async def refusal(socket: trio_websocket.WebSocketConnection, **fields: Any) -> str:
    reply = await subscribe(socket, TOPIC, **fields)
    assert reply["type"] == "error"
    code: str = reply["code"]
    return code


def socket_of(service: Service, bearer: str | None = None) -> Any:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    return opened(service.url.replace("http", "ws") + "/ws", headers)


async def test_nobody_receives_alerts_without_a_valid_token(office: Service) -> None:
    async with socket_of(office) as socket:
        await frame(socket)
        assert await refusal(socket) == "invalid_token"
        assert await refusal(socket, token="x.y.z") == "invalid_token"
        assert await refusal(socket, token=token(exp=int(time.time()) - 60)) == "invalid_token"
        assert await refusal(socket, token="x" * 5_000) == "invalid_request"
        assert await refusal(socket, since=0) == "invalid_token"  # nor of what was
        await observe(office, "part_down", 1)
        await office.publish(event(TOPIC, 1))
        await socket.send_message(json.dumps({"op": "ping"}))
        assert (await frame(socket))["type"] == "pong"


async def test_without_a_secret_there_are_no_administrators(service: Service) -> None:
    async with socket_of(service) as socket:
        await frame(socket)
        assert await refusal(socket, token=token()) == "admin_disabled"


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_viewer_receives_open_alerts_and_then_new_ones(
    office: Service, by_header: bool
) -> None:
    await observe(office, "part_down", 1)
    bearer = token(Role.VIEWER)
    async with socket_of(office, bearer if by_header else None) as socket:
        await frame(socket)
        reply = await subscribe(socket, TOPIC, **({} if by_header else {"token": bearer}))
        assert [each["kind"] for each in reply["snapshot"]["alerts"]] == ["part_down"]
        assert reply["snapshot"]["complete"]
        await office.publish(event(TOPIC, 2))
        got = await frame(socket)
        assert (got["topic"], got["seq"]) == (TOPIC, reply["seq"] + 1)
    trail = await rows(office, "SELECT actor, details FROM audit_logs")
    assert [each["actor"] for each in trail] == ["admin:carol"]
    assert trail[0]["details"]["topic"] == TOPIC


async def test_alerts_are_sent_until_the_token_expires(office: Service) -> None:
    async with socket_of(office) as socket:
        await frame(socket)
        await subscribe(socket, TOPIC, token=token(Role.VIEWER))
        await office.publish(event(TOPIC, 1))
        assert (await frame(socket))["type"] == "event"
        _offset[0] = 61.0
        await office.publish(event(TOPIC, 2), event(TOPIC, 3))
        got = await frame(socket)
        assert (got["type"], got["code"]) == ("error", "invalid_token")
        await office.publish(event(TOPIC, 4), _deposit())
        await subscribe(socket, "deposit_event")
        await office.publish(event(TOPIC, 5), _deposit())
        assert (await frame(socket))["topic"] == "deposit_event"


def _deposit() -> OutboxMessage:
    return event("deposit_event", 1)


async def test_a_subscription_with_an_owner_receives_only_that_owners_alerts(
    office: Service,
) -> None:
    owner = "11111111111111111111111111111111"
    await observe(office, "low_balance", 1, owner=owner)
    await observe(office, "low_balance", 2, owner="somebody")
    async with socket_of(office) as socket:
        await frame(socket)
        reply = await subscribe(socket, TOPIC, owner=owner, token=token())
        assert [each["owner"] for each in reply["snapshot"]["alerts"]] == [owner]
