"""Endpoints get each event of a vault at least once and in order, however they behave."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
import trio
from cryptography.fernet import Fernet

from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.delivery.endpoint_circuit import OPEN_AFTER
from cvms.nursery.delivery.endpoint_sender import EVENTS_OF_HELD, EndpointSender, Superseded
from cvms.nursery.delivery.event_webhooks import EventWebhooks
from cvms.nursery.delivery.webhook_dispatcher import EndpointsQueue, WebhookDispatcher
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import MessageType, OutboxMessage
from cvms.store.messaging.webhooks import endpoint_secrets, endpoints
from cvms.store.messaging.webhooks.endpoints import EndpointRow
from cvms.store.messaging.webhooks.event_messages import TOPICS, position_of
from cvms.store.postgres.database import Database
from cvms.store.security.encryption import SecretBox
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import Origin
from cvms.traces.spans import Span, Traces
from cvms.traces.trace_context import new_trace, parse_traceparent
from tests.harness.webhook_receiver import OK, Received, WebhookReceiver
from tests.nursery.forking import Forking

KEYS = [Fernet.generate_key()]
BOX = SecretBox(KEYS)
SECRET = b"s" * 32
SHOWN = "whsec_c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M="
ERROR = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"


def webhooks(database: Database, *, hub: Hub | None = None, timeout: float = 30) -> EventWebhooks:
    return EventWebhooks(
        database=database,
        secret_box=BOX,
        hub=Hub() if hub is None else hub,
        private=True,
        context=ssl.create_default_context(),
        board=StatusBoard(),
        metrics=Metrics(),
        timeout=timeout,
    )


async def endpoint(
    database: Database, url: str, *, owner: str | None = None, topics: Sequence[str] = TOPICS
) -> str:
    async with database.transaction() as conn:
        row = await endpoints.add(conn, owner=owner, url=url, topics=topics, created_by="admin:x")
        await endpoint_secrets.add(conn, BOX, row.id, SECRET)
    return row.id


StartSender = Callable[[str], Awaitable[EndpointSender]]


@pytest.fixture
async def start(database: Database) -> AsyncIterator[StartSender]:
    """Start senders, whose rounds a test runs one by one."""
    senders: list[EndpointSender] = []

    async def start(name: str) -> EndpointSender:
        senders.append(sender := webhooks(database).sender(name))
        assert await sender.start() is not None
        return sender

    yield start
    for sender in senders:
        await sender.close()


def event(
    owner: str, number: int, *, topic: str = "deposit_event", type_: MessageType = "event"
) -> OutboxMessage:
    return OutboxMessage(
        topic=topic,
        owner=owner,
        slot=number,
        signature=f"signature {number}",
        commitment="confirmed",
        data={"owner": owner, "number": number},
        type=type_,
    )


async def publish(database: Database, *messages: OutboxMessage) -> None:
    async with database.transaction() as conn:
        await outbox.append(conn, messages)


async def state(database: Database, name: str) -> EndpointRow:
    async with database.transaction() as conn:
        row = await endpoints.get(conn, name)
    assert row is not None
    return row


async def held(database: Database) -> list[tuple[str, int, int]]:
    """Return owner, position and tries of the held vaults."""
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT owner, position, tries FROM webhook_held_vaults ORDER BY owner"
        )
        return [(str(owner), int(at), int(tries)) for owner, at, tries in await cursor.fetchall()]


async def make_due(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("UPDATE webhook_held_vaults SET due_at = clock_timestamp()")


def numbers(messages: Sequence[Received], owner: str | None = None) -> list[int]:
    return [
        each.data["event"]["number"] for each in messages if owner in {None, each.data["owner"]}
    ]


def refusing(*owners: str) -> Callable[[dict[str, Any]], bytes | None]:
    return lambda message: ERROR if message["data"]["owner"] in owners else OK


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> WebhookReceiver:
    return await WebhookReceiver(secrets=[SHOWN]).start(nursery)


async def test_a_message_about_a_traced_transaction_continues_its_trace(
    database: Database, receiver: WebhookReceiver
) -> None:
    request, spans = new_trace(), list[Span]()
    name = await endpoint(database, receiver.url)
    async with database.transaction() as conn:
        await submissions.record_signed(
            conn,
            message_hash=b"h" * 32,
            kind="deposit",
            owner="a",
            message=b"message",
            signature="signature 1",
            wire=b"wire",
            last_valid_block_height=1,
            since_slot=0,
            origin=Origin("request", request.traceparent),
        )
    await publish(database, event("a", 1), event("a", 2))
    sender = replace(webhooks(database), traces=Traces(spans.append)).sender(name)
    await sender.start()
    await sender.send_new()
    await sender.close()
    traced, other = receiver.received
    assert traced.traceparent is not None
    sent = parse_traceparent([traced.traceparent])
    assert [(each.context, each.failed) for each in spans] == [(sent, False)]
    assert spans[0].context.trace_id == request.trace_id
    assert other.traceparent is None


async def test_events_arrive_signed_in_order_and_each_once(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    await publish(database, event("alice", 0))  # before the registration
    name = await endpoint(database, receiver.url)
    await publish(database, *[event("ab"[number % 2], number) for number in range(1, 41)])
    sender = await start(name)
    assert await sender.send_new() is False
    assert numbers(receiver.received, "a") == list(range(2, 41, 2))
    assert numbers(receiver.received, "b") == list(range(1, 41, 2))
    assert receiver.invalid == []
    assert receiver.connections == 2  # one for each vault, for all of its events
    assert await sender.send_new() is False
    assert len(receiver.received) == 40
    assert len({each.id for each in receiver.received}) == 40


async def test_an_owners_endpoint_gets_the_events_of_its_vault_and_of_its_topics(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url, owner="alice", topics=["lock_event"])
    await publish(
        database,
        event("alice", 1),
        event("bob", 2, topic="lock_event"),
        event("alice", 3, topic="lock_event"),
        event("alice", 4, topic="vault_balance_update"),
    )
    await (await start(name)).send_new()
    assert [(each.type, numbers([each])) for each in receiver.received] == [("lock_event", [3])]


async def test_a_failed_event_holds_back_only_its_vault(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = refusing("alice")
    await publish(database, event("alice", 1), event("bob", 2), event("alice", 3), event("bob", 4))
    sender = await start(name)
    await sender.send_new()
    await publish(database, event("alice", 5), event("bob", 6))
    await sender.send_new()
    assert numbers(receiver.accepted) == [2, 4, 6]
    assert numbers(receiver.received, "alice") == [1]  # the others wait for it
    assert await held(database) == [("alice", 1, 1)]
    await make_due(database)
    await sender.send_held()
    assert await held(database) == [("alice", 1, 2)]
    receiver.answer = refusing()
    await make_due(database)
    await sender.send_held()
    assert numbers(receiver.accepted, "alice") == [1, 3, 5]
    ids = {each.id for each in receiver.received if numbers([each]) == [1]}
    assert len(ids) == 1
    assert await held(database) == []


async def test_what_a_held_vault_has_missed_is_sent_in_parts_and_in_order(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = refusing("alice")
    count = 2 * EVENTS_OF_HELD + 10
    await publish(database, *[event("alice", number) for number in range(count)])
    sender = await start(name)
    await sender.send_new()
    receiver.answer = refusing()
    await make_due(database)
    for _ in range(3):
        assert await sender.send_held() == 0
    assert await held(database) == []
    assert numbers(receiver.accepted) == list(range(count))


async def test_events_that_come_while_a_held_vault_catches_up_are_not_lost(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = refusing("alice")
    await publish(database, event("alice", 1))
    sender = await start(name)
    await sender.send_new()
    await make_due(database)
    arrived = trio.Event()

    def answer(_: dict[str, Any]) -> bytes:
        arrived.set()
        return OK

    receiver.answer = answer
    # The end of the round waits for the transaction.
    async with trio.open_nursery() as nursery, database.transaction() as conn:
        await endpoints.get(conn, name)
        nursery.start_soon(sender.send_held)
        await arrived.wait()
        await outbox.append(conn, [event("alice", 2)])
        await conn.execute("UPDATE webhook_endpoints SET position = 2")
    assert await held(database) == [("alice", 2, 0)]
    await sender.send_held()
    assert numbers(receiver.accepted) == [1, 2]


async def test_a_dead_endpoint_is_left_alone_and_leaves_next_to_nothing(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = lambda _: ERROR
    sender = await start(name)
    await publish(database, *[event(f"owner {number}", number) for number in range(30)])
    await sender.send_new()
    tried = len(receiver.received)
    assert OPEN_AFTER <= tried < 30
    row = await state(database, name)
    assert (row.state, row.tries, row.last_error) == ("active", 1, "replied with status 500")
    assert row.failing_since is not None
    # Another process knows it too, and tries a single event when it is time.
    await publish(database, *[event(f"other {number}", number) for number in range(30)])
    async with database.connection() as conn:
        await conn.execute("UPDATE webhook_endpoints SET due_at = clock_timestamp()")
    other = await start(name)
    await other.send_new()
    assert len(receiver.received) == tried + 1
    row = await state(database, name)
    assert (row.tries, row.position) == (2, 31)
    assert len(await held(database)) == 31
    # All that waited is due as soon as it works again, and its position moves on.
    receiver.answer = lambda _: OK
    async with database.connection() as conn:
        await conn.execute("UPDATE webhook_endpoints SET due_at = clock_timestamp()")
    last = await start(name)
    await last.send_new()
    while await last.send_new() or await held(database):
        await last.send_held()
    assert sorted(numbers(receiver.accepted)) == sorted([*range(30)] * 2)
    row = await state(database, name)
    assert (row.tries, row.failing_since) == (0, None)


async def test_an_endpoint_that_fails_for_a_day_is_paused_until_it_is_activated(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = lambda _: ERROR
    await publish(database, event("alice", 1))
    sender = await start(name)
    await sender.send_new()
    assert (await state(database, name)).state == "active"
    async with database.connection() as conn:
        await conn.execute("UPDATE webhook_endpoints SET failing_since = now() - INTERVAL '1 day'")
    await make_due(database)
    await sender.send_held()
    row = await state(database, name)
    assert (row.state, row.reason) == ("paused", endpoints.FAILING)
    with trio.fail_after(5):
        await sender.run()  # ends at once
    await publish(database, event("alice", 2))
    async with database.transaction() as conn:
        await endpoints.set_state(conn, name, "active")
    await make_due(database)
    receiver.answer = lambda _: OK
    sender = await start(name)
    await sender.send_held()
    await sender.send_new()
    assert numbers(receiver.accepted) == [1, 2]


async def test_an_event_that_fails_for_a_day_is_given_up_and_can_be_sent_again(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = lambda message: ERROR if message["data"]["event"]["number"] == 1 else OK
    await publish(database, event("alice", 1))
    sender = await start(name)
    await sender.send_new()
    async with database.connection() as conn:
        await conn.execute("UPDATE outbox SET created_at = now() - INTERVAL '1 day'")
    await publish(database, event("alice", 2))
    await sender.send_new()
    await make_due(database)
    await sender.send_held()
    await sender.send_held()
    assert numbers(receiver.accepted) == [2]
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT id, state, tries, event FROM webhook_deliveries")
        [(identity, at, tries, kind)] = await cursor.fetchall()
    assert (position_of(identity), at, tries, kind) == (1, "given_up", 2, "deposit_event")


async def test_410_deactivates_the_endpoint(database: Database, receiver: WebhookReceiver) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = lambda _: b"HTTP/1.1 410 Gone\r\n\r\n"
    await publish(database, event("alice", 1), event("alice", 2))
    with trio.fail_after(10):
        await webhooks(database).sender(name).run()
    row = await state(database, name)
    assert (row.state, row.reason) == ("deactivated", endpoints.GONE)
    assert len(receiver.received) == 1


async def test_a_process_that_was_killed_is_replaced_by_one_that_uses_the_same_ids(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    await publish(database, event("alice", 1), event("alice", 2))
    killed = await start(name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(killed.send_new)
        await receiver.until(lambda: len(receiver.received) == 1)
        nursery.cancel_scope.cancel()
    before = list(receiver.received)
    await (await start(name)).send_new()
    again = receiver.received[len(before) :]
    assert numbers(again) == [1, 2]
    assert again[0].id == before[0].id


async def test_of_two_processes_only_one_moves_the_endpoint(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    late, leader = await start(name), await start(name)
    await publish(database, event("alice", 1))
    receiver.answer = lambda _: None  # holds the first one up
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_is_superseded, late)
        await receiver.until(lambda: len(receiver.received) == 1)
        receiver.answer = lambda _: OK
        await leader.send_new()
        receiver.close_connections()  # and the first one tries again
    assert (await state(database, name)).position == 1
    assert await held(database) == []


async def _is_superseded(sender: EndpointSender) -> None:
    with pytest.raises(Superseded):
        await sender.send_new()


async def test_a_hanging_endpoint_does_not_delay_another(
    database: Database, nursery: trio.Nursery, receiver: WebhookReceiver
) -> None:
    hanging = await WebhookReceiver(answer=lambda _: None).start(nursery)
    await endpoint(database, hanging.url)
    await endpoint(database, receiver.url)
    hub = Hub()
    service = webhooks(database, hub=hub, timeout=3600)
    nursery.start_soon(service.run)
    for number in range(3):
        await publish(database, event("alice", number))
        async with database.connection() as conn:
            hub.publish(await outbox.after(conn, number))
        await receiver.until(lambda number=number: numbers(receiver.accepted)[-1:] == [number])  # type: ignore[misc]
    await hanging.until(lambda: len(hanging.received) == 1)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000000\r\n\r\n" + b"x" * 900_000, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", True),  # the body never comes
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, False),
        (b"nonsense\r\n\r\n", False),
    ],
    ids=["a redirect", "a huge reply", "half a reply", "a huge head", "no HTTP"],
)
async def test_of_a_reply_only_the_status_counts(
    database: Database, receiver: WebhookReceiver, answer: bytes, accepted: bool, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = lambda _: answer
    await publish(database, event("alice", 1), event("alice", 2))
    await (await start(name)).send_new()
    assert len(receiver.received) == (2 if accepted else 1)
    assert await held(database) == ([] if accepted else [("alice", 1, 1)])
    assert receiver.connections == len(receiver.received)


async def test_a_connection_that_the_endpoint_has_closed_is_opened_again(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    receiver.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    await publish(database, event("alice", 1))
    sender = await start(name)
    await sender.send_new()
    receiver.close_connections()
    await publish(database, event("alice", 2))
    await sender.send_new()
    assert numbers(receiver.accepted) == [1, 2]
    assert receiver.connections == 2


async def test_a_name_that_leads_to_a_private_address_meanwhile_is_refused(
    database: Database, receiver: WebhookReceiver
) -> None:
    name = await endpoint(database, receiver.url)
    await publish(database, event("alice", 1))
    service = webhooks(database)
    service.private = False
    sender = service.sender(name)
    await sender.start()
    await sender.send_new()
    await sender.close()
    assert receiver.connections == 0
    assert (await state(database, name)).last_error == "Expected an https:// URL"


async def test_during_a_rotation_both_secrets_sign_and_afterwards_the_new_one(
    database: Database, receiver: WebhookReceiver, start: StartSender
) -> None:
    name = await endpoint(database, receiver.url)
    new = "whsec_bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ubm4="
    receiver.secrets.append(new)
    async with database.transaction() as conn:
        await endpoint_secrets.expire(conn, name, timedelta(hours=1))
        await endpoint_secrets.add(conn, BOX, name, b"n" * 32)
    sender = await start(name)
    await publish(database, event("alice", 1))
    await sender.send_new()
    assert receiver.invalid == []
    async with database.connection() as conn:
        await endpoint_secrets.expire(conn, name, timedelta(0))
        await endpoint_secrets.add(conn, BOX, name, b"n" * 32)
        assert await endpoint_secrets.prune(conn) == 2
    await publish(database, event("alice", 2))
    await sender.send_new()
    assert receiver.invalid == ["No matching signature found"]  # of the old one


async def test_secrets_survive_a_rotation_of_the_encryption_keys(
    database: Database, receiver: WebhookReceiver
) -> None:
    name = await endpoint(database, receiver.url)
    new = Fernet.generate_key()
    async with database.connection() as conn:
        assert await endpoint_secrets.reseal(conn, SecretBox([new, *KEYS])) == 1
    service = webhooks(database)
    service.secret_box = SecretBox([new])
    sender = service.sender(name)
    await sender.start()
    await publish(database, event("alice", 1))
    await sender.send_new()
    await sender.close()
    assert numbers(receiver.accepted) == [1]
    assert receiver.invalid == []


async def test_a_single_message_of_an_endpoint_is_signed_like_its_events(
    database: Database, receiver: WebhookReceiver
) -> None:
    name = await endpoint(database, receiver.url)
    async with database.connection() as conn:
        await conn.execute(
            "INSERT INTO webhook_deliveries (endpoint, event, body) VALUES (%s, 'test', %s)",
            [name, '{"type": "test", "data": {}}'],
        )
    dispatcher = WebhookDispatcher(
        metrics=Metrics(),
        database=database,
        queue=EndpointsQueue(secret_box=BOX),
        private=True,
        board=StatusBoard(),
        context=ssl.create_default_context(),
    )
    assert [await dispatcher.run_once(), await dispatcher.run_once()] == [1, 0]
    assert [each.type for each in receiver.received] == ["test"]
    assert receiver.invalid == []


async def test_a_fork_takes_back_what_was_sent_and_says_which_message(
    forking: Forking, receiver: WebhookReceiver, start: StartSender
) -> None:
    world = forking.world
    name = await endpoint(world.database, receiver.url, topics=["deposit_event"])
    sender = await start(name)
    owner = await forking.wallet()
    from cvms.chain.program import instructions

    await forking.act((owner, instructions.initialize_vault(world.programs, owner.pubkey())))
    world.chain.chain.advance(6)
    await forking.act((owner, world.deposit(owner, 100)))
    await forking.catch_up()
    await sender.send_new()
    forking.fork(2)
    await forking.catch_up()
    await sender.send_new()
    assert [each.type for each in receiver.received[:2]] == [
        "deposit_event",
        "deposit_event.retracted",
    ]
    sent, taken_back = receiver.received[:2]
    assert taken_back.data["retracts"] == sent.id != taken_back.id
    assert taken_back.data["event"] == sent.data["event"]
    assert sent.data["retracts"] is None
