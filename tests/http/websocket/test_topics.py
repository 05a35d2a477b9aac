"""Repeated, early ended and failed subscriptions, retractions, and expiring tokens."""

from __future__ import annotations

import json
import time

import pytest
import trio
from trio_websocket import WebSocketConnection

from cvms.errors import DatabaseUnavailable
from cvms.http.framework.admin_tokens import Role
from cvms.http.websocket import client_session
from cvms.store.messaging import outbox
from cvms.store.messaging.topics import Topic
from cvms.store.security import revoked_tokens
from cvms.store.security.revoked_tokens import Revocation
from tests.harness.service import Service, event, frame, running, subscribe
from tests.http.admin.test_admin_routes import SECRET, token
from tests.http.websocket.test_endpoint import ALICE, opened
from tests.websockets import opened as connected

TOPIC, OTHER = "deposit_event", "lock_event"


def retracted(number: int) -> outbox.OutboxMessage:
    return outbox.OutboxMessage(
        topic=TOPIC,
        owner=ALICE,
        slot=number,
        signature="5ig",
        commitment="confirmed",
        data={"number": number, "owner": ALICE},
        type="retracted",
    )


async def test_a_retraction_is_sent_in_order_live_and_in_a_replay(
    service: Service,
) -> None:
    async with opened(service) as live:
        await subscribe(live, TOPIC)
        await service.publish(event(TOPIC, 1, ALICE), retracted(1), event(TOPIC, 2, ALICE))
        frames = [await frame(live) for _ in range(3)]
    async with opened(service) as late:
        await subscribe(late, TOPIC, owner=ALICE, since=0)
        again = [await frame(late) for _ in range(3)]
    assert frames == again
    assert [(each["type"], each["seq"]) for each in frames] == [
        ("event", 1),
        ("retracted", 2),
        ("event", 3),
    ]
    assert (frames[1]["signature"], frames[1]["data"]["number"]) == ("5ig", 1)


async def test_a_client_subscribed_twice_receives_each_event_once(service: Service) -> None:
    async with opened(service) as socket:
        for fields in ({}, {}, {"owner": ALICE}):
            assert (await subscribe(socket, TOPIC, **fields))["type"] == "subscribed"
        await service.publish(event(TOPIC, 1, ALICE), event(TOPIC, 2, None), event(TOPIC, 3, ALICE))
        assert [(await frame(socket))["seq"] for _ in range(3)] == [1, 2, 3]
        await ask(socket, op="unsubscribe", topic=TOPIC)
        assert (await frame(socket))["owner"] is None
        await service.publish(event(TOPIC, 4, None), event(TOPIC, 5, ALICE))
        assert (await frame(socket))["seq"] == 5


async def test_a_client_that_unsubscribes_before_the_snapshot_receives_no_event(
    service: Service,
) -> None:
    async with opened(service) as socket:
        await ask(socket, topic=TOPIC)
        await ask(socket, op="unsubscribe", topic=TOPIC)
        await ask(socket, op="ping")
        assert [(await frame(socket))["type"] for _ in range(3)] == [
            "subscribed",
            "unsubscribed",
            "pong",
        ]
        await service.publish(event(TOPIC, 1, ALICE))
        await ask(socket, op="ping")
        assert (await frame(socket))["type"] == "pong"
        assert service.hub._by_filter == {}


async def test_a_failed_subscription_leaves_the_others_unchanged(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an earlier subscription to the same topic nor events of others are lost."""
    started, fail = trio.Event(), trio.Event()

    async def failing(*_: object, **__: object) -> None:
        started.set()
        await fail.wait()
        raise DatabaseUnavailable("away")

    async with opened(service) as socket:
        await subscribe(socket, TOPIC)
        await subscribe(socket, OTHER)
        with monkeypatch.context() as patched:
            patched.setattr(client_session, "read_snapshot_or_replay", failing)
            await ask(socket, topic=TOPIC)
            await started.wait()
            await service.publish(event(TOPIC, 1), event(OTHER, 1))
            fail.set()
            frames = [await frame(socket) for _ in range(3)]
        await service.publish(event(TOPIC, 2), event(OTHER, 2))
        frames += [await frame(socket) for _ in range(2)]
    events = [(each["topic"], each["seq"]) for each in frames if each["type"] == "event"]
    assert events == [(TOPIC, 1), (OTHER, 1), (TOPIC, 2), (OTHER, 2)]
    assert [each["code"] for each in frames if each["type"] == "error"] == ["database_unavailable"]


async def test_every_topic_can_be_subscribed_to(database_url: str) -> None:
    bearer = token(Role.VIEWER)
    async with running(database_url, admin_jwt_secret=SECRET) as service, opened(service) as socket:
        for topic in Topic:
            reply = await subscribe(socket, topic, token=bearer)
            assert (reply["type"], reply["topic"], reply["seq"]) == ("subscribed", topic, 0)
            await service.publish(event(topic, 1))
            assert (await frame(socket))["seq"] == 1


async def test_the_expiry_of_a_token_is_reported_without_any_event(database_url: str) -> None:
    """Subscriptions that need no token continue."""
    soon = int(time.time()) + 2
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        address = service.url.replace("http", "ws") + "/ws"
        headers = {"Authorization": f"Bearer {token(Role.VIEWER, exp=soon)}"}
        async with connected(address, headers) as socket:
            await frame(socket)
            await subscribe(socket, TOPIC)
            assert (await subscribe(socket, "security_alert"))["type"] == "subscribed"
            frames = await frame(socket)
            assert (frames["type"], frames["code"], frames["topic"]) == (
                "error",
                "invalid_token",
                "security_alert",
            )
            assert time.time() >= soon
            await service.publish(event("security_alert", 1), event(TOPIC, 1))
            assert (await frame(socket))["topic"] == TOPIC
            # A new token allows it again.
            reply = await subscribe(socket, "security_alert", token=token(Role.VIEWER))
            assert (reply["type"], reply["seq"]) == ("subscribed", 1)


async def ask(socket: WebSocketConnection, **message: str) -> None:
    await socket.send_message(json.dumps(message))


async def test_a_revoked_token_ends_its_subscription_without_any_event(database_url: str) -> None:
    """Subscriptions with another token, and those that need none, continue."""
    async with (
        running(database_url, admin_jwt_secret=SECRET) as service,
        opened(service) as revoked,
        opened(service) as other,
    ):
        for socket, token_id in ((revoked, "one"), (other, "two")):
            bearer = token(Role.VIEWER, jti=token_id)
            await subscribe(socket, TOPIC)
            assert (await subscribe(socket, "security_alert", token=bearer))["type"] == "subscribed"
        async with service.database.connection() as conn:
            await revoked_tokens.add(conn, Revocation(token_id="one"), by="test")
        ended = await frame(revoked)
        assert (ended["code"], ended["topic"]) == ("invalid_token", "security_alert")
        again = await subscribe(revoked, "security_alert", token=token(Role.VIEWER, jti="one"))
        assert again["code"] == "invalid_token"
        await service.publish(event(TOPIC, 1), event("security_alert", 1))
        assert [(await frame(other))["topic"] for _ in "12"] == [TOPIC, "security_alert"]
        assert (await frame(revoked))["topic"] == TOPIC
        await revoked.send_message('{"op": "ping"}')
        assert (await frame(revoked))["type"] == "pong"


async def test_a_token_gives_no_access_beyond_that_of_the_one_that_replaces_it(
    database_url: str,
) -> None:
    """A token of a day is revoked after one of seconds has taken its place."""
    async with running(database_url, admin_jwt_secret=SECRET) as service, opened(service) as socket:
        for claims in ({"jti": "day"}, {"jti": "short", "exp": int(time.time()) + 2}):
            bearer = token(Role.VIEWER, **claims)
            assert (await subscribe(socket, "security_alert", token=bearer))["type"] == "subscribed"
        async with service.database.connection() as conn:
            await revoked_tokens.add(conn, Revocation(token_id="day"), by="test")
        ended = await frame(socket)
        assert (ended["code"], ended["topic"]) == ("invalid_token", "security_alert")
