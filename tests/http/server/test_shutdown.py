"""Shutdown answers requests in progress, closes WebSockets and aborts stuck clients, in time."""

from __future__ import annotations

import httpx
import pytest
import trio
import trio.testing
import trio_websocket

from cvms.http.server import http_connection
from cvms.store.messaging import outbox
from tests.harness.service import Service, event, frame, subscribe
from tests.http.server.raw_requests import HEALTH, answers, connected
from tests.http.websocket.test_endpoint import closing, until_closed

BLOCK = b"x" * 65536


async def test_a_request_in_progress_is_answered_and_websockets_get_1001(service: Service) -> None:
    entered, release = trio.Event(), trio.Event()
    replies: list[httpx.Response] = []

    async def hold() -> str:
        entered.set()
        await release.wait()
        return "answered"

    async def ask() -> None:
        replies.append(await service.get("/hold"))

    service.app.add_url_rule("/hold", "hold", hold)
    async with (
        await trio.open_tcp_stream("127.0.0.1", service.port) as stream,
        trio.open_nursery() as nursery,
        await trio_websocket.wrap_client_stream(nursery, stream, "127.0.0.1", "/ws") as socket,
    ):
        await frame(socket)
        nursery.start_soon(ask)
        await entered.wait()
        service.shutdown.set()
        assert (await closing(socket)).code == 1001
        with pytest.raises(OSError, match="connect"):
            await trio.open_tcp_stream("127.0.0.1", service.port)
        assert not service.stopped.is_set()
        release.set()
    assert [(reply.status_code, reply.text) for reply in replies] == [(200, "answered")]
    with trio.fail_after(2):
        await service.stopped.wait()


async def test_the_first_request_of_a_new_connection_is_answered(service: Service) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await trio.testing.wait_all_tasks_blocked()
        service.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        with trio.fail_after(2):
            while await stream.receive_some():
                pass
            await service.stopped.wait()


async def test_committed_events_are_sent_before_the_socket_closes(service: Service) -> None:
    async with (
        await trio.open_tcp_stream("127.0.0.1", service.port) as stream,
        trio.open_nursery() as nursery,
        await trio_websocket.wrap_client_stream(nursery, stream, "127.0.0.1", "/ws") as socket,
    ):
        await frame(socket)
        await subscribe(socket, "deposit_event")
        await service.publish(event("deposit_event", 1))
        async with service.database.transaction() as conn:
            await outbox.append(conn, [event("deposit_event", number) for number in range(2, 30)])
            rows = await outbox.after(conn, 1)
        service.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        service.hub.publish(rows)  # as the broadcaster does, a moment later
        got = [(await frame(socket))["data"]["number"] for _ in range(29)]
        assert got == list(range(1, 30))
        assert (await closing(socket)).code == 1001


async def test_events_that_nobody_publishes_do_not_delay_the_shutdown(service: Service) -> None:
    async with (
        await trio.open_tcp_stream("127.0.0.1", service.port) as stream,
        trio.open_nursery() as nursery,
        await trio_websocket.wrap_client_stream(nursery, stream, "127.0.0.1", "/ws") as socket,
    ):
        await frame(socket)
        await service.publish(event("deposit_event", 1))
        async with service.database.transaction() as conn:
            await outbox.append(conn, [event("deposit_event", 2)])
        service.shutdown.set()
        with trio.fail_after(3):
            assert (await closing(socket)).code == 1001
            await service.stopped.wait()


async def test_idle_connections_do_not_delay_the_shutdown(service: Service) -> None:
    await service.get("/health")  # stays in the client's pool
    async with await trio.open_tcp_stream("127.0.0.1", service.port):
        service.shutdown.set()
        with trio.fail_after(0.4):
            await service.stopped.wait()


async def test_a_request_that_never_ends_is_aborted_within_the_deadline(service: Service) -> None:
    service.app.add_url_rule("/hang", "hang", trio.sleep_forever)
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stream.send_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        await service.get("/health")
        service.shutdown.set()
        with trio.fail_after(service.config.shutdown_deadline):
            await service.stopped.wait()


async def test_a_client_that_reads_nothing_does_not_outlast_the_deadline(service: Service) -> None:
    """Its writes are shielded from cancellation, but the shutdown must not wait for them."""
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stuck(service, stream)
        service.shutdown.set()
        with trio.fail_after(service.config.shutdown_deadline):
            await service.stopped.wait()


async def test_a_client_that_reads_too_slowly_is_dropped(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "WRITE_SECONDS", 0.2)
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        await stuck(service, stream)
        answer = await until_closed(stream)
    assert 0 < len(answer) < 600 * len(BLOCK)


async def stuck(service: Service, stream: trio.SocketStream) -> None:
    """Request more than the sockets buffer, and return when the server waits to write it."""
    started = trio.Event()

    async def much() -> bytes:
        started.set()
        return BLOCK * 600

    service.app.add_url_rule("/much", "much", much)
    await stream.send_all(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
    await started.wait()
    await service.get("/health")


async def test_between_two_requests_of_a_segment_the_next_answer_is_the_last(
    service: Service,
) -> None:
    """The client hears that the others are not answered, and loses no answer to a reset."""
    many = 400
    async with connected(service) as stream:
        await stream.send_all(HEALTH * many)
        received = bytes(await stream.receive_some())
        service.shutdown.set()
        received += await answers(stream, b"")
    head, *others = received.split(b"HTTP/1.1 200 ")
    assert head == b""
    assert [b"connection: close" in each for each in others] == [False] * (len(others) - 1) + [True]
    assert others[-1].endswith(b"}")
    assert len(others) < many
