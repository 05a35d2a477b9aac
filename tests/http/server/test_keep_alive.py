"""A response says whether its connection stays open, and the service does what it says."""

from __future__ import annotations

import gc
import tracemalloc
from contextlib import AsyncExitStack

import h11
import pytest
import trio
import trio.testing

from cvms.http.server import http_connection
from cvms.log.fields import log_fields
from tests.harness.service import Service
from tests.http.server.raw_requests import HANDSHAKE, ask, connected

LARGE = 100_000  # above the limit of a body

Reply = tuple[int, bool]
"""The status, and whether the response says that it is the connection's last."""


async def exchange(stream: trio.SocketStream, request: bytes) -> Reply:
    """Send a request, and read the response to its end."""
    await stream.send_all(request)
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="POST", target="/", headers=[("Host", "localhost")]))
    status, closes = 0, False
    with trio.fail_after(10):
        while not isinstance(event := parser.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status, closes = event.status_code, (b"connection", b"close") in event.headers
            elif event is h11.NEED_DATA:
                parser.receive_data(await stream.receive_some())
    return status, closes


def post(path: str, body: bytes, *, length: int | None = None, content: str = "json") -> bytes:
    """Return a request of which only `body` is sent, whatever length it announces."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/{content}\r\n"
    announced = len(body) if length is None else length
    return f"{head}Content-Length: {announced}\r\n\r\n".encode() + body


async def is_closed(stream: trio.SocketStream) -> bool:
    with trio.fail_after(10):
        return await stream.receive_some() == b""


def chunked(path: str, size: int) -> bytes:
    """Return a request whose body has a chunk of `size` bytes and no end."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Transfer-Encoding: chunked\r\n\r\n{size:x}\r\n".encode() + b" " * size


TOO_LARGE = {
    "by its length": (413, post("/api/auth/nonce", b"{", length=LARGE)),
    "by its chunks": (413, chunked("/api/auth/nonce", LARGE)),
    "for no route": (404, post("/api/nothing", b"{", length=LARGE)),
    "for another method": (405, post("/api/vault/tvl", b"{", length=LARGE)),
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_a_body_that_is_too_large_is_answered_at_once_and_for_the_last_time(
    service: Service, name: str
) -> None:
    status, request = TOO_LARGE[name]
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        assert await exchange(stream, request) == (status, True)
        assert await is_closed(stream)


async def test_after_any_other_answer_the_connection_stays_open(service: Service) -> None:
    requests = {
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
        b"GET /api/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n": 404,
        b"OPTIONS /api/vault/tvl HTTP/1.1\r\nHost: localhost\r\n\r\n": 200,
        post("/api/nothing", b"{}"): 404,
        post("/api/auth/nonce", b"{}"): 400,
        post("/api/auth/nonce", b"{}", content="x-tar"): 415,
    }
    async with await trio.open_tcp_stream("127.0.0.1", service.port) as stream:
        for request, status in [*requests.items()] * 3:
            assert await exchange(stream, request) == (status, False), request


@pytest.mark.parametrize("odd", [b"", b"TE: trailers\r\n"])
async def test_an_idle_connection_keeps_nothing_of_what_it_has_answered(
    service: Service, odd: bytes
) -> None:
    connections, body = 20, b" " * 60_000
    request = post("/api/auth/nonce", body).replace(b"Content-Type", odd + b"Content-Type")
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(connected(service)) for _ in range(connections)]
        await exchange(streams[0], request)
        tracemalloc.start()
        try:
            for stream in streams:
                assert await exchange(stream, request) == (400, False)
            gc.collect()
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert kept < connections * len(body) / 4


async def test_no_log_line_after_an_answer_has_the_fields_of_its_request(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: list[object] = []
    wait = http_connection.HttpConnection._receive

    async def receive(connection: http_connection.HttpConnection) -> bytes:
        fields.append(dict(log_fields.get({})))
        return await wait(connection)

    monkeypatch.setattr(http_connection.HttpConnection, "_receive", receive)
    async with connected(service) as stream:
        assert b" 200 " in await ask(stream)
        assert b" 101 " in await ask(stream, HANDSHAKE % b"/ws")
    assert fields == [{}] * len(fields)
    assert len(fields) >= 2


async def test_the_last_answer_of_a_service_that_shuts_down_says_so(service: Service) -> None:
    entered, release = trio.Event(), trio.Event()

    async def hold() -> str:
        entered.set()
        await release.wait()
        return "answered"

    async def shut_down() -> None:
        await entered.wait()
        service.shutdown.set()
        await trio.testing.wait_all_tasks_blocked()
        release.set()

    service.app.add_url_rule("/hold", "hold", hold)
    async with (
        await trio.open_tcp_stream("127.0.0.1", service.port) as stream,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(shut_down)
        request = b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert await exchange(stream, request) == (200, True)
        assert await is_closed(stream)
