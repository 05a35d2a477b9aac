"""Administrators see webhook deliveries, send one again, and send a test message."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest
import trio
from solders.keypair import Keypair

from cvms.config.alert_settings import AlertSettings
from cvms.http.framework.admin_tokens import Role
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.delivery.webhook_dispatcher import AlertsQueue, WebhookDispatcher
from cvms.store.messaging import webhook_deliveries
from cvms.store.security import signer_webhooks
from tests.harness.service import Json, Service, running
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.wallets import rows
from tests.nursery.delivery.test_webhook_dispatcher import Receiver

LIST, TEST = "/api/admin/deliveries", "/api/admin/deliveries/test"
KEY = b"k" * 32
SIGNER = str(Keypair().pubkey())


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> Receiver:
    return await Receiver.start(nursery)


@pytest.fixture
async def office(database_url: str, receiver: Receiver) -> AsyncIterator[Service]:
    """Run the front end alone, with a webhook of the operators and one of a signer."""
    async with running(
        database_url,
        admin_jwt_secret=SECRET,
        webhook_private_addresses=True,
        alerts=AlertSettings(webhook_url=receiver.url, webhook_secret=KEY),
    ) as service:
        async with service.database.connection() as conn:
            await signer_webhooks.put(conn, SIGNER, receiver.url, b"sealed")
        yield service


async def add(office: Service, count: int) -> None:
    """Add messages for the operators, each in a transaction of its own, and one for the signer."""
    for number in range(count):
        async with office.database.connection() as conn:
            await webhook_deliveries.add_alert(conn, event=f"alert.{number}", body="{}")
    async with office.database.connection() as conn:
        await webhook_deliveries.add(conn, [SIGNER], event="proposal.created", body="{}")


async def deliver(office: Service, receiver: Receiver) -> int:
    """Try what is due for the operators, once."""
    operators = WebhookDispatcher(
        metrics=Metrics(),
        database=office.database,
        queue=AlertsQueue(url=receiver.url, secret=KEY),
        private=True,
        board=StatusBoard(),
        context=ssl.create_default_context(),
    )
    return await operators.run_once()


async def listed(office: Service, query: str = "") -> Json:
    reply = await ask(office, "GET", LIST + query, bearer=token(Role.VIEWER))
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


async def events(office: Service, query: str = "") -> list[str]:
    return [each["event"] for each in (await listed(office, query))["deliveries"]]


async def test_deliveries_are_listed_newest_first_by_state_and_recipient(
    office: Service, receiver: Receiver
) -> None:
    await add(office, 3)
    seen, query = [], "?limit=3"
    while True:
        page = await listed(office, query)
        seen += [each["event"] for each in page["deliveries"]]
        if page["next_cursor"] is None:
            break
        query = f"?limit=3&cursor={page['next_cursor']}"
    assert seen == ["proposal.created", "alert.2", "alert.1", "alert.0"]
    assert await events(office, f"?signer={SIGNER}") == ["proposal.created"]
    assert await events(office, "?recipient=operators&limit=2") == ["alert.2", "alert.1"]
    await deliver(office, receiver)
    assert await events(office, "?state=pending") == ["proposal.created"]
    assert receiver.url not in json.dumps(await listed(office))


@pytest.mark.parametrize(
    "query", ["state=lost", "recipient=me", "signer=x", "cursor=1", "limit=0", "colour=red"]
)
async def test_an_invalid_query_is_refused(office: Service, query: str) -> None:
    reply = await ask(office, "GET", f"{LIST}?{query}", bearer=token(Role.VIEWER))
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("state", ["pending", "delivered", "given_up"])
async def test_a_message_is_sent_again_under_the_same_id(
    office: Service, receiver: Receiver, state: str
) -> None:
    await add(office, 1)
    assert await deliver(office, receiver) == 1
    async with office.database.connection() as conn:
        await conn.execute(
            """
            UPDATE webhook_deliveries
            SET state = %s, tries = 12, last_error = 'x',
                due_at = now() + INTERVAL '1 hour', created_at = now() - INTERVAL '2 days'
            """,
            [state],
        )
    [row] = (await listed(office, "?recipient=operators"))["deliveries"]
    path = f"{LIST}/{row['id']}/resend"
    refused = await ask(office, "POST", path, bearer=token(Role.VIEWER))
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    reply = await ask(office, "POST", path, bearer=token(Role.OPERATOR))
    assert reply.status_code == 202, reply.text
    again = reply.json()
    assert (again["state"], again["tries"], again["last_error"]) == ("pending", 0, None)
    receiver.answer = b"HTTP/1.1 500 Oops\r\n\r\n"
    assert await deliver(office, receiver) == 1
    [failed] = (await listed(office, "?recipient=operators"))["deliveries"]
    assert (failed["state"], failed["tries"]) == ("pending", 1)  # not given up for its age
    assert [headers["webhook-id"] for headers, _ in receiver.requests] == [row["id"]] * 2
    trail = await rows(
        office, "SELECT actor, details FROM audit_logs WHERE action = 'delivery_resend'"
    )
    assert trail == [
        {"actor": "admin:carol", "details": {"delivery": row["id"], "event": "alert.0"}}
    ]


@pytest.mark.parametrize(
    "fail",
    [
        webhook_deliveries.give_up,
        partial(webhook_deliveries.try_again, delay=timedelta(hours=1)),
    ],
    ids=["given up", "to be tried later"],
)
async def test_an_attempt_that_fails_after_the_message_was_sent_again_changes_nothing(
    office: Service, fail: Callable[..., Awaitable[None]]
) -> None:
    await add(office, 1)
    lease = timedelta(minutes=1)
    async with office.database.connection() as conn:
        [attempt] = await webhook_deliveries.take_alerts(conn, limit=1, lease=lease)
        path = f"{LIST}/{attempt.id}/resend"
        assert (await ask(office, "POST", path, bearer=token(Role.OPERATOR))).status_code == 202
        await fail(conn, attempt, error="no reply")
        [again] = await webhook_deliveries.take_alerts(conn, limit=1, lease=lease)
    assert again.id == attempt.id


@pytest.mark.parametrize(
    "name", ["0", "x", "%00", "\N{ARABIC-INDIC DIGIT THREE}", str(UUID(int=7))]
)
async def test_an_unknown_delivery_is_not_found(office: Service, name: str) -> None:
    reply = await ask(office, "POST", f"{LIST}/{name}/resend", bearer=token(Role.OPERATOR))
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert await rows(office, "SELECT 1 FROM audit_logs WHERE action = 'delivery_resend'") == []


async def test_a_test_message_reaches_the_operators(office: Service, receiver: Receiver) -> None:
    reply = await ask(office, "POST", TEST, {}, token(Role.OPERATOR))
    assert reply.status_code == 202, reply.text
    assert await deliver(office, receiver) == 1
    [(headers, body)] = receiver.requests
    assert headers["webhook-id"] == reply.json()["id"]
    message = json.loads(body)
    assert (message["type"], message["data"]) == ("test", {})
    assert [each["state"] for each in (await listed(office))["deliveries"]] == ["delivered"]
    trail = await rows(office, "SELECT details FROM audit_logs WHERE action = 'delivery_test'")
    assert trail == [{"details": {"delivery": reply.json()["id"], "event": "test"}}]


async def test_a_test_message_for_a_signer_needs_its_webhook(office: Service) -> None:
    reply = await ask(office, "POST", TEST, {"signer": SIGNER}, token(Role.OPERATOR))
    assert (reply.status_code, reply.json()["signer"]) == (202, SIGNER)
    body = {"signer": str(Keypair().pubkey())}
    unknown = await ask(office, "POST", TEST, body, token(Role.OPERATOR))
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert await events(office) == ["test"]


async def test_without_a_webhook_of_the_operators_there_is_no_test(database_url: str) -> None:
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        reply = await ask(service, "POST", TEST, {}, token(Role.OPERATOR))
        assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
        assert await rows(service, "SELECT 1 FROM webhook_deliveries") == []
