"""Clients that flood, stall, vanish or break the protocol harm only their own connection."""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial

import pytest
import trio
import trio.lowlevel
from solders.keypair import Keypair
from wsproto.events import Event

from cvms.http.server import http_connection
from cvms.http.server.websocket_stream import WebSocketStream
from cvms.http.websocket.client_session import ClientSession, WebSocketLimits
from cvms.store.messaging import outbox
from tests.harness.service import Service, event, running
from tests.http.websocket.raw_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    RawWebSocket,
    packed,
    text,
)

TOPIC = "deposit_event"
OTHER = "lock_event"
LIMIT = 16 * 1024


# --- what breaks a rule ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (packed(TEXT, b"\xff\xfe"), 1007),
        (packed(TEXT, b"{}", masked=False), 1002),
        (packed(3), 1002),
        (packed(TEXT | 0x40, b"{}"), 1002),
        (packed(CONTINUATION, b"{}"), 1002),
        (packed(TEXT, b"{", final=False) + packed(TEXT, b"}"), 1002),
        (packed(PING, b"x" * 126), 1002),
        (packed(PING, final=False), 1002),
        (b"\x81\xff" + b"\xff" * 12, 1002),
        (packed(TEXT, b"x" * (LIMIT + 1)), 1009),
        (packed(BINARY, b"x" * (LIMIT + 1)), 1009),
        (packed(TEXT, b"x" * LIMIT, final=False) + packed(CONTINUATION, b"x"), 1009),
        (packed(TEXT, "é".encode() * 8192, final=False) + packed(CONTINUATION, b"x"), 1009),
        (packed(PING) * 2000, 1008),
        (packed(PONG) * 2000, 1008),
        (packed(TEXT, final=False) + packed(CONTINUATION, final=False) * 2000, 1008),
        (text(op="nothing") * 10, 1008),
    ],
    ids=[
        "not UTF-8",
        "not masked",
        "unknown opcode",
        "reserved bit",
        "continues nothing",
        "interrupted message",
        "long ping",
        "ping in pieces",
        "length of 2^63 and more",
        "giant message",
        "giant binary message",
        "giant in pieces",
        "giant in pieces, of characters with two bytes",
        "pings without end",
        "pongs without end",
        "empty pieces without end",
        "bad frames",
    ],
)
async def test_each_protocol_violation_has_its_close_code(
    service: Service, data: bytes, code: int
) -> None:
    async with RawWebSocket(service) as hostile, RawWebSocket(service) as other:
        await hostile.send(data)
        assert await hostile.close_code() == code
        await other.send(text(op="ping"))
        assert (await other.message())["type"] == "pong"
    await until_nobody_is_left(service)


async def test_a_fragmented_message_with_a_ping_between_is_one_message(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        await socket.send(packed(TEXT, b'{"op":', final=False))
        await socket.send(packed(PING, b"there?") + packed(CONTINUATION, b' "ping"', final=False))
        await socket.send(packed(CONTINUATION, b"}"))
        assert await socket.frame() == (PONG, b"there?")
        assert (await socket.message())["type"] == "pong"


async def test_an_announced_giant_frame_allocates_nothing(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        await socket.send(b"\x81\xff" + (2**62).to_bytes(8, "big") + bytes(4) + b"x" * (LIMIT + 1))
        assert await socket.close_code() == 1009


async def test_thousands_of_subscriptions_are_refused_and_the_client_is_closed(
    service: Service,
) -> None:
    async with RawWebSocket(service) as socket, trio.open_nursery() as nursery:

        async def ask() -> None:
            with suppress(EOFError, OSError, trio.BrokenResourceError):
                for number in range(2000):
                    await socket.send(text(topic=TOPIC, owner=owner(number)))

        nursery.start_soon(ask)
        assert await socket.close_code() == 1008
        nursery.cancel_scope.cancel()
    await until_nobody_is_left(service)


async def test_a_handshake_that_never_ends_is_aborted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "RECEIVE_SECONDS", 0.3)
    async with RawWebSocket(service, greeted=False) as slow:
        await slow.send(HANDSHAKE[:40])
        answer = b""
        with trio.fail_after(10):
            while data := await slow.stream.receive_some(4096):
                answer += data
    assert b"101" not in answer


async def test_a_client_is_forgotten_if_time_is_up_while_its_close_frame_is_answered(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine that stands still for a moment."""
    answer = WebSocketStream._send_wsproto_event

    async def answer_late(stream: WebSocketStream, event: Event) -> None:
        await answer(stream, event)
        stream._end_soon.__self__._reading.cancel()  # type: ignore[attr-defined]

    async with RawWebSocket(service) as client:
        await client.send(text(topic=TOPIC))
        assert (await client.message())["type"] == "subscribed"
        monkeypatch.setattr(WebSocketStream, "_send_wsproto_event", answer_late)
        await client.send(packed(CLOSE, b"\x03\xe8"))
        assert await client.close_code() == 1000
        await until_nobody_is_left(service)


async def test_a_client_that_vanishes_without_closing_is_forgotten(database_url: str) -> None:
    limits = WebSocketLimits(heartbeat_seconds=0.2, answer_seconds=0.2)
    async with running(database_url, limits=limits) as service, RawWebSocket(service) as vanished:
        await vanished.send(text(topic=TOPIC))
        await until_nobody_is_left(service)


# --- what they cost others ---------------------------------------------------------------------


async def test_connections_that_come_and_go_leave_nothing_behind(service: Service) -> None:
    async def come_and_go(number: int) -> None:
        async with RawWebSocket(service, greeted=number % 4 != 0) as socket:
            if number % 4 == 0:
                await socket.send(HANDSHAKE[: 10 + number % 90])
                return
            await socket.send(text(topic=TOPIC, owner=owner(number)))
            await socket.send(text(subscribe=owner(number)))
            if number % 4 == 1:
                socket.reset_on_close()
            elif number % 4 == 2:
                await socket.message()
                await socket.send(packed(8, b"\x03\xe8"))

    async def forty_at_once() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(come_and_go, number)

    await forty_at_once()
    await until_nobody_is_left(service)
    await open_all_connections(service)
    tasks_before, descriptors_before = tasks(), descriptors()
    for _ in range(10):
        await forty_at_once()
    await until_nobody_is_left(service)
    await until(lambda: tasks() <= tasks_before and descriptors() <= descriptors_before)
    gc.collect()
    assert [each for each in gc.get_objects() if isinstance(each, ClientSession)] == []
    assert service.hub._by_filter == {}
    assert service.accounts.wanted == frozenset()
    assert "cvms_websocket_clients 0.0" in (await service.get("/metrics")).text


async def test_a_long_replay_read_slowly_continues_with_new_events(
    service: Service,
) -> None:
    """A client is not closed for the size of its own replay."""
    missed, more = 900, 100
    await service.publish(*[event(TOPIC, n, padding=4_000) for n in range(missed)])
    async with RawWebSocket(service, window=4096) as slow:
        await slow.send(text(topic=TOPIC, since=0) + text(topic=OTHER))
        seqs = [(await slow.message())["seq"]]  # it has begun
        for number in range(more):
            await service.publish(event(TOPIC, number))
        while len(seqs) < 1 + missed + more:
            message = await slow.message()
            if message["topic"] == TOPIC:
                seqs.append(message["seq"])
    assert seqs == list(range(missed + more + 1))


async def test_nothing_follows_the_close_frame_that_answers_a_clients(service: Service) -> None:
    """RFC 6455, 5.5.1. Browsers report such a frame as an error of the connection."""
    followed = list[tuple[int, bytes]]()

    async def leave(client: RawWebSocket) -> None:
        await client.send(packed(CLOSE, b"\x03\xe8"))
        assert await client.close_code() == 1000
        with suppress(EOFError):
            while True:
                followed.append(await client.frame())

    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(RawWebSocket(service)) for _ in range(20)]
        for client in clients:
            await client.send(text(topic=TOPIC))
            assert (await client.message())["type"] == "subscribed"
        async with service.database.transaction() as conn:
            await outbox.append(conn, [event(TOPIC, number) for number in range(1000)])
        async with service.database.connection() as conn:
            rows = await outbox.after(conn, 0)
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(leave, client)
            for row in rows:
                service.hub.publish([row])
                await trio.lowlevel.checkpoint()
                if not service.hub.has_subscribers(TOPIC):
                    break
            assert not service.hub.has_subscribers(TOPIC), "too few rows until all have left"
    assert followed == []


Rage = Callable[[Service], Awaitable[None]]


async def flood(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        while True:
            await socket.send(packed(TEXT, b"[" * 1000))


async def ping_on_and_on(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        while True:
            await socket.send(packed(PING, b"x" * 125))


async def never_read(service: Service) -> None:
    async with RawWebSocket(service, window=4096) as socket:
        await socket.send(text(topic=TOPIC))
        await trio.sleep_forever()


async def replay_on_and_on(service: Service) -> None:
    async with RawWebSocket(service, window=4096) as socket:
        while True:
            await socket.send(text(topic=OTHER, since=0))


async def send_giants(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        await socket.send(packed(TEXT, b"x" * 1_000_000))
        await socket.close_code()


async def send_pieces(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        await socket.send(packed(TEXT, final=False))
        while True:
            await socket.send(packed(CONTINUATION, final=False))


async def never_finish_handshake(service: Service) -> None:
    async with RawWebSocket(service, greeted=False) as socket:
        for byte in HANDSHAKE[:-1]:
            await socket.send(bytes([byte]))
        await trio.sleep_forever()


async def come_and_go(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        await socket.send(text(topic=TOPIC))
        socket.reset_on_close()


async def ask_for_everything(service: Service) -> None:
    async with RawWebSocket(service) as socket:
        for number in range(1000):
            await socket.send(text(subscribe=owner(number)) + text(topic=TOPIC))


RAGES: tuple[Rage, ...] = (
    flood,
    ping_on_and_on,
    never_read,
    replay_on_and_on,
    send_giants,
    send_pieces,
    never_finish_handshake,
    come_and_go,
    ask_for_everything,
)


async def test_while_fifty_rage_others_get_every_event_in_order(service: Service) -> None:
    total, calm, batch = 400, 3, 20
    await service.publish(*[event(OTHER, n, padding=500) for n in range(500)])
    got: list[list[int]] = [[] for _ in range(calm)]
    attacks = 0

    async def rage(attack: Rage) -> None:
        nonlocal attacks
        while True:
            attacks += 1
            with suppress(EOFError, OSError, trio.BrokenResourceError):
                await attack(service)
            await trio.lowlevel.checkpoint()

    async def listen(seqs: list[int], task_status: trio.TaskStatus[None]) -> None:
        async with RawWebSocket(service) as socket:
            await socket.send(text(topic=TOPIC))
            assert (await socket.message())["type"] == "subscribed"
            task_status.started()
            while len(seqs) < total:
                seqs.append((await socket.message())["seq"])

    async with trio.open_nursery() as rages:
        for number in range(50):
            rages.start_soon(rage, RAGES[number % len(RAGES)])
        await until(lambda: attacks > 100)
        async with trio.open_nursery() as listeners:
            for seqs in got:
                await listeners.start(listen, seqs)
            for sent in range(0, total, batch):
                # Clients that read keep up; those that never read are closed.
                await until(partial(all_have, got, sent - 100))
                await service.publish(*[event(TOPIC, n, padding=2_000) for n in range(batch)])
        rages.cancel_scope.cancel()
    assert got == [list(range(1, total + 1))] * calm
    assert (await service.get("/health")).status_code == 200
    await until_nobody_is_left(service)


# --- what the tests are made of ----------------------------------------------------------------

_owners: dict[int, str] = {}


def all_have(got: list[list[int]], count: int) -> bool:
    return min(map(len, got)) >= count


def owner(number: int) -> str:
    return _owners.setdefault(number, str(Keypair().pubkey()))


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def open_all_connections(service: Service) -> None:
    """Fill the pool, which otherwise grows when more queries than before happen to meet."""
    async with AsyncExitStack() as lent:
        for _ in range(service.config.database_connections):
            await lent.enter_async_context(service.database.connection())


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.01)


async def until_nobody_is_left(service: Service) -> None:
    await until(lambda: len(service.hub) == 0)
    with trio.fail_after(30):
        while "cvms_websocket_clients 0.0" not in (await service.get("/metrics")).text:  # noqa: ASYNC110
            await trio.sleep(0.02)
