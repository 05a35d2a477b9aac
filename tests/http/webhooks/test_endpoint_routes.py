"""Owners and administrators register webhooks for events, and manage their own only."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, get_args
from uuid import uuid4

import httpx
import pytest
import trio
from cryptography.fernet import Fernet
from solders.keypair import Keypair

from cvms.http.framework.admin_tokens import Role
from cvms.http.framework.request import EventTopic
from cvms.http.webhooks import endpoint_routes, message_routes
from cvms.http.webhooks.endpoint_routes import MAX_FOR_ALL_VAULTS, MAX_OF_OWNER
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.delivery.event_webhooks import EventWebhooks
from cvms.nursery.delivery.webhook_dispatcher import EndpointsQueue, WebhookDispatcher
from cvms.store.messaging import outbox
from cvms.store.messaging.webhooks import single_deliveries
from cvms.store.messaging.webhooks.event_messages import TOPICS
from cvms.store.security.encryption import SecretBox
from tests.harness.service import Json, Service, running
from tests.harness.webhook_receiver import OK, WebhookReceiver
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.wallets import rows, signed
from tests.nursery.delivery.test_event_webhooks import ERROR, event
from tests.store.examples import store_vault, vault_row

URL = "https://hooks.example/cvms"
PATH = "/api/webhooks"


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Service]:
    """Run the front end alone, with an encryption key."""
    async with running(
        database_url,
        admin_jwt_secret=SECRET,
        data_encryption_keys=(Fernet.generate_key(),),
        webhook_private_addresses=True,
    ) as service:
        yield service


@pytest.fixture
async def owner(office: Service) -> Keypair:
    return await vault_owner(office)


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> WebhookReceiver:
    return await WebhookReceiver().start(nursery)


async def vault_owner(office: Service) -> Keypair:
    """Return the owner of a vault that is indexed."""
    key = Keypair()
    async with office.database.transaction() as conn:
        await store_vault(conn, vault_row(owner=str(key.pubkey()), vault=str(Keypair().pubkey())))
    return key


async def register(office: Service, owner: Keypair, url: str = URL) -> httpx.Response:
    body = await signed(office, owner, "webhook_register", ("topics", "all"), ("url", url))
    return await office.post(PATH, {name: body[name] for name in body if name != "topics"})


async def registered(office: Service, owner: Keypair, url: str = URL) -> str:
    reply = await register(office, owner, url)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["endpoint"]["id"])


async def act(office: Service, owner: Keypair, action: str, *fields: tuple[str, Any]) -> Json:
    reply = await refusable(office, owner, action, *fields)
    assert reply.status_code in {200, 202}, reply.text
    result: Json = reply.json()
    return result


async def refusable(
    office: Service, owner: Keypair, action: str, *fields: tuple[str, Any]
) -> httpx.Response:
    body = await signed(office, owner, f"webhook_{action}", *fields)
    return await office.post(f"{PATH}/{action}", {name: body[name] for name in body if body[name]})


async def listed(office: Service, owner: Keypair) -> list[Json]:
    found: list[Json] = (await act(office, owner, "list"))["endpoints"]
    return found


def senders(office: Service) -> EventWebhooks:
    return EventWebhooks(
        database=office.database,
        secret_box=SecretBox(office.config.data_encryption_keys),
        hub=office.hub,
        private=True,
        context=ssl.create_default_context(),
        board=StatusBoard(),
        metrics=office.resources.metrics,
    )


async def send(office: Service, endpoint: str) -> None:
    """Try what is new for an endpoint, and what is single."""
    sender = senders(office).sender(endpoint)
    await sender.start()
    await sender.send_new()
    await sender.close()
    await WebhookDispatcher(
        metrics=Metrics(),
        database=office.database,
        queue=EndpointsQueue(secret_box=SecretBox(office.config.data_encryption_keys)),
        private=True,
        board=StatusBoard(),
        context=ssl.create_default_context(),
    ).run_once()


async def publish(office: Service, *messages: outbox.OutboxMessage) -> None:
    async with office.database.transaction() as conn:
        await outbox.append(conn, messages)


def test_every_topic_that_endpoints_may_get_can_be_chosen() -> None:
    assert list(get_args(EventTopic)) == [str(topic) for topic in TOPICS]


async def test_an_owner_registers_a_webhook_whose_secret_is_shown_once(
    office: Service, owner: Keypair
) -> None:
    reply = await register(office, owner)
    assert reply.status_code == 201, reply.text
    secret, shown = reply.json()["secret"], reply.json()["endpoint"]
    assert secret.startswith("whsec_")
    assert (shown["owner"], shown["url"], shown["state"]) == (str(owner.pubkey()), URL, "active")
    assert shown["topics"] == [str(topic) for topic in TOPICS]
    [found] = await listed(office, owner)
    assert {name: found[name] for name in shown} == shown
    assert secret not in json.dumps(found)
    assert secret not in str(await rows(office, "SELECT s::TEXT FROM webhook_secrets AS s"))
    [entry] = await rows(office, "SELECT owner, details FROM audit_logs")
    assert entry["owner"] == str(owner.pubkey())
    assert entry["details"]["host"] == "hooks.example"


async def test_an_administrator_registers_one_for_all_vaults(office: Service) -> None:
    body = {"url": URL, "topics": ["deposit_event"]}
    for role, status in ((Role.OPERATOR, 403), (Role.ADMIN, 201)):
        reply = await ask(office, "POST", PATH, body, token(role))
        assert reply.status_code == status, reply.text
    assert reply.json()["endpoint"]["owner"] is None
    listing = await ask(office, "GET", "/api/admin/webhooks", bearer=token(Role.VIEWER))
    [found] = listing.json()["endpoints"]
    assert (found["host"], found["url"]) == ("hooks.example", None)
    # It is behind by the alert about its registration, which is none of its events.
    assert (found["behind"], found["held_vaults"], found["state"]) == (1, 0, "active")


async def test_another_owner_neither_sees_nor_changes_a_webhook(
    office: Service, owner: Keypair
) -> None:
    identity = await registered(office, owner)
    mallory = await vault_owner(office)
    assert await listed(office, mallory) == []
    fields: dict[str, list[tuple[str, Any]]] = {
        "rotate": [("overlap_seconds", 60)],
        "messages": [("cursor", ""), ("limit", 50)],
        "resend": [("webhook_id", str(uuid4()))],
    }
    for route in (*endpoint_routes.ROUTES, *message_routes.ROUTES):
        action = route.rule.removeprefix(f"{PATH}/")
        if not route.rule.startswith(f"{PATH}/") or action == "list":
            continue
        asked = [("endpoint", identity), *fields.get(action, [])]
        reply = await refusable(office, mallory, action, *asked)
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), action
    [found] = await listed(office, owner)
    assert found["state"] == "active"


async def test_only_owners_of_vaults_register_and_a_bounded_number(
    office: Service, owner: Keypair
) -> None:
    reply = await register(office, Keypair())
    assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found")
    for _ in range(MAX_OF_OWNER):
        await registered(office, owner)
    reply = await register(office, owner)
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    await registered(office, await vault_owner(office))
    for _ in range(MAX_FOR_ALL_VAULTS):
        reply = await ask(office, "POST", PATH, {"url": URL}, token(Role.ADMIN))
        assert reply.status_code == 201
    reply = await ask(office, "POST", PATH, {"url": URL}, token(Role.ADMIN))
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_all_owners_together_have_a_bounded_number(
    office: Service, owner: Keypair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_routes, "MAX_OF_OWNERS", 1)
    async with trio.open_nursery() as nursery:  # also at once
        replies: list[httpx.Response] = []

        async def ask_for_one(key: Keypair) -> None:
            replies.append(await register(office, key))

        for key in [owner, await vault_owner(office), await vault_owner(office)]:
            nursery.start_soon(ask_for_one, key)
    assert sorted(reply.status_code for reply in replies) == [201, 409, 409]


async def test_a_private_url_is_refused_unless_allowed(database_url: str) -> None:
    async with running(database_url, data_encryption_keys=(Fernet.generate_key(),)) as office:
        owner = await vault_owner(office)
        for url in ("http://hooks.example/", "https://127.1/", "https://[::1]/"):
            reply = await register(office, owner, url)
            assert (reply.status_code, reply.json()["errors"][0]["path"]) == (400, "url")


async def test_without_an_encryption_key_none_is_registered(database_url: str) -> None:
    async with running(database_url) as office:
        reply = await register(office, await vault_owner(office))
        assert (reply.status_code, reply.json()["code"]) == (503, "sealing_disabled")
        assert await rows(office, "SELECT 1 FROM webhook_endpoints") == []


async def test_a_rotation_shows_a_new_secret_and_lets_the_old_one_sign_for_a_while(
    office: Service, owner: Keypair, receiver: WebhookReceiver
) -> None:
    first = (await register(office, owner, receiver.url)).json()
    identity = first["endpoint"]["id"]
    fields = ("endpoint", identity), ("overlap_seconds", 3600)
    second = await act(office, owner, "rotate", *fields)
    receiver.secrets += [first["secret"], second["secret"]]
    await act(office, owner, "test", ("endpoint", identity))
    await send(office, identity)
    assert len(receiver.received) == 1
    assert receiver.invalid == []
    for _ in range(3):
        await act(office, owner, "rotate", *fields)
    reply = await refusable(office, owner, "rotate", *fields)
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_messages_are_listed_with_their_states_and_sent_again(
    office: Service, owner: Keypair, receiver: WebhookReceiver
) -> None:
    identity, name = await registered(office, owner, receiver.url), str(owner.pubkey())
    receiver.answer = lambda message: ERROR if message["data"]["event"]["number"] == 2 else OK
    await publish(office, event(name, 1), event(name, 2), event(name, 3), event("other", 4))
    await send(office, identity)
    await publish(office, event(name, 5))
    page = [("endpoint", identity), ("cursor", ""), ("limit", 2)]
    newest = await act(office, owner, "messages", *page)
    page[1] = ("cursor", newest["next_cursor"])
    older = await act(office, owner, "messages", *page)
    states = [each["state"] for each in newest["messages"] + older["messages"]]
    assert states == ["pending", "pending", "failing", "delivered"]
    [failing, delivered] = older["messages"]
    assert (failing["tries"], failing["last_error"]) == (1, "replied with status 500")
    assert delivered["id"] == receiver.accepted[0].id
    reply = await act(
        office, owner, "resend", ("endpoint", identity), ("webhook_id", delivered["id"])
    )
    assert reply == {"webhook_id": delivered["id"], "type": "deposit_event"}
    await send(office, identity)
    assert [each.id for each in receiver.accepted].count(delivered["id"]) == 2
    listing = await ask(
        office, "GET", f"/api/admin/deliveries?endpoint={identity}", bearer=token(Role.VIEWER)
    )
    [single] = listing.json()["deliveries"]
    assert (single["id"], single["endpoint"], single["state"]) == (
        delivered["id"],
        identity,
        "delivered",
    )


async def test_an_event_before_the_registration_is_not_listed_as_delivered(
    office: Service, owner: Keypair
) -> None:
    name = str(owner.pubkey())
    await publish(office, event(name, 1))
    identity = await registered(office, owner)
    await publish(office, event(name, 2))
    page = ("endpoint", identity), ("cursor", ""), ("limit", 50)
    [only] = (await act(office, owner, "messages", *page))["messages"]
    assert (only["slot"], only["state"]) == (2, "pending")
    everything = await ask(office, "POST", PATH, {"url": URL}, token(Role.ADMIN))
    body = {"endpoint": everything.json()["endpoint"]["id"]}
    reply = await ask(office, "POST", f"{PATH}/messages", body, token(Role.VIEWER))
    assert reply.json() == {"messages": [], "next_cursor": None}


async def test_single_messages_that_are_due_longest_are_sent_first(
    office: Service, owner: Keypair
) -> None:
    first, second = [await registered(office, owner) for _ in range(2)]
    for each in (second, first):
        await act(office, owner, "test", ("endpoint", each))
    async with office.database.connection() as conn:
        [taken] = await single_deliveries.take(conn, limit=1, lease=timedelta(minutes=1))
        assert taken.endpoint == second
        [taken] = await single_deliveries.take(conn, limit=1, lease=timedelta(minutes=1))
        assert taken.endpoint == first


async def test_no_message_of_another_vault_can_be_asked_for(
    office: Service, owner: Keypair
) -> None:
    identity = await registered(office, owner)
    await publish(office, event("other", 1))
    async with office.database.connection() as conn:
        [row] = await outbox.after(conn, 0)
    from cvms.store.messaging.webhooks.event_messages import message_id

    asked = ("endpoint", identity), ("webhook_id", str(message_id(identity, row)))
    reply = await refusable(office, owner, "resend", *asked)
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_a_webhook_is_deactivated_activated_and_deleted(
    office: Service, owner: Keypair, receiver: WebhookReceiver
) -> None:
    identity, name = await registered(office, owner, receiver.url), str(owner.pubkey())
    assert (await act(office, owner, "deactivate", ("endpoint", identity)))["state"] == (
        "deactivated"
    )
    reply = await refusable(office, owner, "test", ("endpoint", identity))
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
    await publish(office, event(name, 1))
    assert await senders(office).sender(identity).start() is None
    assert (await act(office, owner, "activate", ("endpoint", identity)))["state"] == "active"
    await send(office, identity)
    assert len(receiver.accepted) == 1  # what it has missed
    await act(office, owner, "test", ("endpoint", identity))
    await act(office, owner, "delete", ("endpoint", identity))
    assert await listed(office, owner) == []
    for table in ("webhook_endpoints", "webhook_secrets", "webhook_deliveries"):
        assert await rows(office, f"SELECT 1 FROM {table}") == []


async def test_410_to_a_single_message_deactivates_the_endpoint(
    office: Service, owner: Keypair, receiver: WebhookReceiver
) -> None:
    identity = await registered(office, owner, receiver.url)
    receiver.answer = lambda _: b"HTTP/1.1 410 Gone\r\n\r\n"
    await act(office, owner, "test", ("endpoint", identity))
    await send(office, identity)
    [endpoint] = await listed(office, owner)
    assert endpoint["state"] == "deactivated"
    reply = await refusable(office, owner, "test", ("endpoint", identity))
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_few_single_messages_wait_for_an_endpoint(office: Service, owner: Keypair) -> None:
    identity = await registered(office, owner)
    for _ in range(message_routes.MAX_PENDING):
        await act(office, owner, "test", ("endpoint", identity))
    reply = await refusable(office, owner, "test", ("endpoint", identity))
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")
