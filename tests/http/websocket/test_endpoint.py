"""A subscriber receives each topic's events in order, without gaps or duplicates."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args

import pytest
import trio
import trio.lowlevel
import trio_websocket
from solders.keypair import Keypair
from trio_websocket import ConnectionClosed

from cvms.chain.program.events.events import Event
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.nursery.delivery import broadcaster
from cvms.nursery.ledger.entries import event_vaults, ledger_entries
from cvms.nursery.wiring.replica_tasks import build_broadcaster
from cvms.store.messaging import outbox
from cvms.store.messaging.topics import KINDS_OF, TOPIC_OF, Topic
from cvms.store.projection import vault_writer
from cvms.store.vaults import history, vaults
from tests.harness.service import Json, Service, event, frame, handshake, running, subscribe
from tests.nursery.ledger.test_entries import made_up
from tests.store.examples import history_row

ALICE, BOB = str(Keypair().pubkey()), str(Keypair().pubkey())
TOPIC = "deposit_event"


async def test_the_first_frame_has_the_interval_of_pings(service: Service) -> None:
    async with trio_websocket.open_websocket(
        "127.0.0.1", service.port, "/ws", use_ssl=False
    ) as socket:
        greeting = await frame(socket)
        assert greeting["type"] == "connected"
        assert greeting["heartbeat_seconds"] == 30
        assert greeting["session"]


async def test_events_after_the_subscription_arrive_with_their_seq(service: Service) -> None:
    await service.publish(event(TOPIC, 1, ALICE))
    async with opened(service) as socket:
        reply = await subscribe(socket, TOPIC, owner=ALICE)
        assert (reply["type"], reply["topic"], reply["owner"], reply["seq"]) == (
            "subscribed",
            TOPIC,
            ALICE,
            1,
        )
        await service.publish(event(TOPIC, 2, BOB), event(TOPIC, 3, ALICE))
        got = await frame(socket)
        assert (got["type"], got["seq"], got["data"]["number"]) == ("event", 3, 3)


async def test_the_short_form_subscribes_too(service: Service) -> None:
    async with opened(service) as socket:
        await socket.send_message(json.dumps({"topic": TOPIC}))
        assert (await frame(socket))["type"] == "subscribed"
        await service.publish(event(TOPIC, 1, ALICE))
        assert (await frame(socket))["seq"] == 1
    text = (await service.get("/metrics")).text
    assert f'cvms_websocket_frames_total{{topic="{TOPIC}"}} 1.0' in text


@pytest.mark.parametrize("topic", KINDS_OF)
async def test_a_snapshot_has_every_kind_of_the_topics_events(
    service: Service, topic: Topic
) -> None:
    kinds = KINDS_OF[topic] * 12
    rows = [history_row(ordinal=n, kind=kind, owner=ALICE) for n, kind in enumerate(kinds)]
    others = [
        history_row(ordinal=99, kind=kind, owner=ALICE)
        for each, kinds in KINDS_OF.items()
        for kind in kinds
        if each != topic
    ]
    async with service.database.connection() as conn:
        await history.add(conn, [*rows, *others])
    async with opened(service) as socket:
        reply = await subscribe(socket, topic, owner=ALICE)
    shown = [row["kind"] for row in reply["snapshot"]["transactions"]]
    assert shown == list(reversed(kinds))[:20]


def test_every_kind_of_movement_has_a_topic() -> None:
    kinds: set[str] = set()
    for kind in get_args(Event):
        made = made_up(kind)
        for movement in ledger_entries(made, dict.fromkeys(event_vaults(made), ALICE)):
            kinds.add(movement.kind)
    assert kinds == TOPIC_OF.keys()


async def test_no_event_arrives_after_unsubscribing(service: Service) -> None:
    async with opened(service) as socket:
        await subscribe(socket, TOPIC)
        await socket.send_message(json.dumps({"op": "unsubscribe", "topic": TOPIC}))
        assert (await frame(socket))["type"] == "unsubscribed"
        await service.publish(event(TOPIC, 1, ALICE))
        await socket.send_message(json.dumps({"op": "ping"}))
        assert (await frame(socket))["type"] == "pong"


async def test_the_snapshot_of_balances_is_the_vaults(service: Service) -> None:
    async with opened(service) as socket:
        reply = await subscribe(socket, "vault_balance_update", owner=ALICE)
        assert reply["snapshot"] is None
        async with service.database.transaction() as conn:
            await vault_writer.advance(conn, [vault_of(ALICE, 600, slot=7)])
        reply = await subscribe(socket, "vault_balance_update", owner=ALICE)
        assert (reply["snapshot"]["balance"], reply["snapshot"]["slot"]) == (600, 7)
        reply = await subscribe(socket, "vault_balance_update")
        assert reply["snapshot"]["complete"]
        assert [each["owner"] for each in reply["snapshot"]["vaults"]] == [ALICE]
        reply = await subscribe(socket, "tvl_update")
        assert reply["snapshot"] == {"total": 600, "vaults": 1, "slot": 7}


async def test_snapshot_and_events_fit_together_under_traffic(service: Service) -> None:
    """The nth event is the nth entry of the history, so a snapshot at seq n must end with it."""
    stop = trio.Event()

    async def traffic() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            line = history_row(ordinal=number, amount=number, kind="deposit", owner=ALICE)
            async with service.database.transaction() as conn:
                await history.add(conn, [line])
                position = await outbox.append(conn, [event(TOPIC, number, ALICE)])
            async with service.database.connection() as conn:
                service.hub.publish(await outbox.after(conn, position - 1))

    async def client() -> None:
        async with opened(service) as socket:
            reply = await subscribe(socket, TOPIC, owner=ALICE)
            newest = reply["snapshot"]["transactions"][:1]
            assert [line["amount"] for line in newest] == [reply["seq"]] * len(newest)
            for expected in range(reply["seq"] + 1, reply["seq"] + 21):
                got = await frame(socket)
                assert (got["seq"], got["data"]["number"]) == (expected, expected)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(traffic)
        for _ in range(5):
            async with trio.open_nursery() as clients:
                for _ in range(6):
                    clients.start_soon(client)
        stop.set()


async def test_since_replays_what_was_missed_and_goes_on_live(service: Service) -> None:
    for number in range(1, 6):
        await service.publish(event(TOPIC, number, ALICE if number % 2 else BOB))
    async with opened(service) as socket:
        reply = await subscribe(socket, TOPIC, owner=ALICE, since=1)
        assert (reply["type"], reply["seq"], reply["snapshot"]) == ("subscribed", 1, None)
        assert [(await frame(socket))["seq"] for _ in range(2)] == [3, 5]
        await service.publish(event(TOPIC, 6, ALICE))
        assert (await frame(socket))["seq"] == 6


@pytest.mark.parametrize("since", [1, 99], ids=["pruned", "from the future"])
async def test_a_since_that_cannot_be_replayed_resets(service: Service, since: int) -> None:
    for number in range(1, 6):
        await service.publish(event(TOPIC, number, ALICE))
    async with service.database.connection() as conn:
        await conn.execute("DELETE FROM outbox WHERE seq <= 3")
    async with opened(service) as socket:
        reply = await subscribe(socket, TOPIC, since=since)
        assert reply == {"type": "reset", "topic": TOPIC, "owner": None}
        reply = await frame(socket)
        assert (reply["type"], reply["seq"]) == ("subscribed", 5)


async def test_a_slow_client_is_closed_and_others_get_everything(service: Service) -> None:
    total = 600
    big = outbox.OutboxMessage(
        topic=TOPIC,
        owner=None,
        slot=1,
        signature=None,
        commitment="confirmed",
        data={"x": "x" * 20_000},
    )

    async def reader(task_status: trio.TaskStatus[None]) -> None:
        async with opened(service) as socket:
            await subscribe(socket, TOPIC)
            task_status.started()
            assert [(await frame(socket))["seq"] for _ in range(total)] == list(range(1, total + 1))

    async with await raw_subscriber(service) as stalled, trio.open_nursery() as nursery:
        await nursery.start(reader)
        with trio.fail_after(30):
            for _ in range(total):
                await service.publish(big)
        await until_closed(stalled)


async def test_a_burst_does_not_close_a_client_that_reads(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example after the indexer has filled a long gap."""
    # A client that keeps up with this even where other tests have most of the processor.
    monkeypatch.setattr(broadcaster, "ROWS_PER_SECOND", 250)
    total = 600
    publisher = build_broadcaster(service.resources)
    await publisher.run_once()
    async with opened(service) as socket, trio.open_nursery() as nursery:
        await subscribe(socket, TOPIC)
        async with service.database.transaction() as conn:
            await outbox.append(conn, [event(TOPIC, n, padding=5_000) for n in range(total)])
        nursery.start_soon(publisher.run_once)
        assert [(await frame(socket))["seq"] for _ in range(total)] == list(range(1, total + 1))


async def test_a_slow_client_that_reads_on_gets_the_close_code(service: Service) -> None:
    async with opened(service) as socket:
        await subscribe(socket, TOPIC)
        async with service.database.transaction() as conn:
            await outbox.append(conn, [event(TOPIC, n, padding=10_000) for n in range(600)])
        async with service.database.connection() as conn:
            # Without a pause, so that the socket buffers and the 256 frames fill up.
            service.hub.publish(await outbox.after(conn, 0))
        reason = await closing(socket)
        assert reason.code == 1013
        assert "too slow" in (reason.reason or "")


async def test_a_slow_client_gets_the_newest_balance_and_every_event(service: Service) -> None:
    """It may miss old balances, but no events."""
    async with await raw_subscriber(service) as slow:
        await raw_subscribe(slow, "vault_balance_update")
        for number in range(1, 401):
            messages = [event("vault_balance_update", number, ALICE, padding=20_000)]
            if number % 20 == 0:
                messages.append(event(TOPIC, number, ALICE))
            await service.publish(*messages)
        told = await frames_until(slow, TOPIC, 20)
    deposits = [each["seq"] for each in told if each["topic"] == TOPIC]
    balances = [each["seq"] for each in told if each["topic"] != TOPIC]
    assert deposits == list(range(1, 21))
    assert balances == sorted(balances)
    assert len(balances) < 400


async def test_invalid_frames_are_answered_and_the_tenth_closes(service: Service) -> None:
    bad = [
        "not JSON",
        "[]",
        '{"op": "explode"}',
        '{"op": "subscribe"}',
        '{"subscribe": ""}',
        '{"topic": "deposit_event", "owner": "me"}',
        '{"topic": "deposit_event", "since": -1}',
        '{"topic": "deposit_event", "colour": "red"}',
        "[" * 10_000,
        "{}",
    ]
    async with opened(service) as socket:
        for text in bad[:-1]:
            await socket.send_message(text)
            reply = await frame(socket)
            assert (reply["type"], reply["code"]) == ("error", "invalid_request"), text
            assert reply["detail"]
        await socket.send_message(bad[-1])
        assert (await closing(socket)).code == 1008


async def test_a_topic_may_come_beside_an_empty_account(service: Service) -> None:
    owner = str(Keypair().pubkey())
    async with opened(service) as socket:
        await socket.send_message(
            json.dumps({"subscribe": "", "topic": "deposit_event", "owner": owner})
        )
        reply = await frame(socket)
        assert (reply["type"], reply["topic"], reply["owner"]) == (
            "subscribed",
            "deposit_event",
            owner,
        )


async def test_binary_frames_are_invalid(service: Service) -> None:
    async with opened(service) as socket:
        for message in (b"\x00\xff", b""):
            await socket.send_message(message)
            assert (await frame(socket))["code"] == "invalid_request"


async def test_a_frame_over_16_kib_closes_with_1009(service: Service) -> None:
    async with opened(service) as socket:
        await socket.send_message("x" * (16 * 1024 + 1))
        assert (await closing(socket)).code == 1009
    assert (await service.get("/health")).status_code == 200


async def test_compression_is_not_negotiated(service: Service) -> None:
    """16 KiB on the wire could otherwise become 16 MiB in memory."""
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_all(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        answer = b""
        with trio.fail_after(5):
            while b"\r\n\r\n" not in answer:
                answer += await stream.receive_some(4096)
    assert answer.startswith(b"HTTP/1.1 101")
    assert b"extensions" not in answer.lower()


async def test_subscriptions_per_connection_are_limited(database_url: str) -> None:
    limits = WebSocketLimits(subscriptions=2)
    async with running(database_url, limits=limits) as service, opened(service) as socket:
        for owner in (ALICE, BOB):
            assert (await subscribe(socket, TOPIC, owner=owner))["type"] == "subscribed"
        assert (await subscribe(socket, TOPIC))["code"] == "invalid_request"
        assert (await subscribe(socket, TOPIC, owner=ALICE))["type"] == "subscribed"


async def test_connections_per_address_are_limited(database_url: str) -> None:
    async with running(database_url, limits=WebSocketLimits(connections_per_ip=1)) as service:
        async with opened(service):
            reply = await handshake(service, "/ws")
            assert (reply.status_code, reply.json()["code"]) == (429, "rate_limited")
            assert reply.headers["Retry-After"]
        with trio.fail_after(5):
            while len(service.hub):
                await trio.lowlevel.checkpoint()
        async with opened(service):
            pass


async def test_frames_per_second_are_limited(database_url: str) -> None:
    limits = WebSocketLimits(frames_per_second=5)
    async with running(database_url, limits=limits) as service, opened(service) as socket:
        for _ in range(15):
            await socket.send_message('{"op": "ping"}')
        replies = [(await frame(socket))["type"] for _ in range(7)]
        assert replies[:5] == ["pong"] * 5
        assert "error" in replies[5:]


async def test_a_client_that_does_not_answer_pings_is_closed(database_url: str) -> None:
    limits = WebSocketLimits(heartbeat_seconds=0.1, answer_seconds=0.1)
    async with (
        running(database_url, limits=limits) as service,
        await raw_subscriber(service) as silent,
        # A ping may arrive after its close frame, which the library refuses to answer.
        opened(service, closes=False) as alive,
    ):
        data = await until_closed(silent)
        assert b"no answer to ping" in data
        await alive.send_message('{"op": "ping"}')
        assert (await frame(alive))["type"] == "pong"
        text = (await service.get("/metrics")).text
        assert 'cvms_websocket_closed_total{reason="no_answer"} 1.0' in text


async def test_an_unavailable_database_is_an_error_and_does_not_close(service: Service) -> None:
    async with opened(service) as socket:
        service.database.schema_ready = False  # as before the first connection
        reply = await subscribe(socket, TOPIC)
        assert (reply["type"], reply["code"]) == ("error", "database_unavailable")
        service.database.schema_ready = True
        assert (await subscribe(socket, TOPIC))["type"] == "subscribed"


async def test_a_client_that_leaves_is_forgotten(service: Service) -> None:
    async with opened(service) as socket:
        await subscribe(socket, TOPIC)
        assert len(service.hub) == 1
    with trio.fail_after(5):
        while len(service.hub):
            await trio.lowlevel.checkpoint()
    text = (await service.get("/metrics")).text
    assert "cvms_websocket_clients 0.0" in text
    assert 'cvms_websocket_closed_total{reason="client"} 1.0' in text


async def test_another_path_does_not_accept_websockets(service: Service) -> None:
    assert (await handshake(service, "/elsewhere")).status_code == 404


# --- what the tests are made of ----------------------------------------------------------------


@asynccontextmanager
async def opened(
    service: Service, *, closes: bool = True
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """A client that has received `connected`, on our own stream: the library leaves its open."""
    async with (
        await trio.open_tcp_stream("127.0.0.1", service.port) as stream,
        trio.open_nursery() as nursery,
    ):
        socket = await trio_websocket.wrap_client_stream(nursery, stream, "127.0.0.1", "/ws")
        assert (await frame(socket))["type"] == "connected"
        yield socket
        if closes:
            await socket.aclose()
        nursery.cancel_scope.cancel()


async def closing(socket: trio_websocket.WebSocketConnection) -> trio_websocket.CloseReason:
    """Read until the service closes, and return the close code."""
    with trio.fail_after(10), suppress(ConnectionClosed):
        while True:
            await socket.get_message()
    assert socket.closed is not None
    return socket.closed


async def raw_subscriber(service: Service) -> trio.SocketStream:
    """A client that subscribes, and then neither reads nor answers pings."""
    stream = await trio.open_tcp_stream("127.0.0.1", service.port)
    await stream.send_all(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    answer = b""
    while b"connected" not in answer:
        answer += await stream.receive_some(4096)
    await raw_subscribe(stream, TOPIC)
    return stream


async def raw_subscribe(stream: trio.SocketStream, topic: str) -> None:
    text = json.dumps({"topic": topic}).encode()
    await stream.send_all(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
    answer = b""
    while b"subscribed" not in answer:
        answer += await stream.receive_some(4096)


async def frames_until(stream: trio.SocketStream, topic: str, seq: int) -> list[Json]:
    """Return the messages of a client that reads its socket itself, up to one."""
    data, told = b"", list[Json]()
    with trio.fail_after(20):
        while True:
            data += await stream.receive_some(65536)
            while (whole := first_payload(data)) is not None:
                head, end = whole
                told.append(json.loads(data[head:end]))
                data = data[end:]
                if (told[-1]["topic"], told[-1]["seq"]) == (topic, seq):
                    return told


def first_payload(data: bytes) -> tuple[int, int] | None:
    """Return the start and the end of the first payload; None until it is complete."""
    if len(data) < 4:
        return None
    size, head = data[1], 2
    if size == 126:
        size, head = int.from_bytes(data[2:4], "big"), 4
    return (head, head + size) if len(data) >= head + size else None


async def until_closed(stream: trio.SocketStream) -> bytes:
    data = b""
    with trio.fail_after(20):
        try:
            while chunk := await stream.receive_some(65536):
                data += chunk
        except trio.BrokenResourceError:
            pass
    return data


def vault_of(owner: str, total: int, *, slot: int) -> vaults.VaultRow:
    others = ("locked", "timelocked", "yield_deposited", "total_withdrawn")
    values: dict[str, Any] = dict.fromkeys(others, 0)
    return vaults.VaultRow(
        owner=owner,
        vault=f"vault of {owner}",
        token_account="token account",
        mint="mint",
        total=total,
        available=total,
        total_deposited=total,
        multisig_threshold=0,
        delegates=(),
        state={},
        slot=slot,
        **values,
    )
