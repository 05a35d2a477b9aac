"""A webhook's host, however it behaves, takes little of what the service's other tasks need."""

from __future__ import annotations

import socket
import ssl
from functools import partial
from threading import Event
from typing import Any

import pytest
import trio
import trio.testing

from cvms.nursery.delivery.webhook_client import NotDelivered, deliver

DEFAULT_THREADS = 40
send = partial(deliver, headers={}, body=b"", private=True, context=ssl.create_default_context())


async def test_name_servers_that_do_not_answer_delay_no_other_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, known = Event(), (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 5432))

    def getaddrinfo(  # noqa: PLR0917 - that of the socket module
        host: str | bytes,
        port: Any,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        if host in {"silent.example", b"silent.example"}:
            answer.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return [known]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def fail() -> None:
        with pytest.raises(NotDelivered):
            await send("http://silent.example/", timeout=60)

    async with trio.open_nursery() as nursery:
        try:
            for _ in range(DEFAULT_THREADS):
                nursery.start_soon(fail)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(10):
                [(*_, address)] = await trio.socket.getaddrinfo("database.example", 5432)
                assert address == ("127.0.0.1", 5432)
        finally:
            answer.set()


async def test_informational_replies_without_an_end_are_not_read_until_the_timeout(
    nursery: trio.Nursery,
) -> None:
    async def serve(stream: trio.SocketStream) -> None:
        try:
            while True:
                await stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        except trio.BrokenResourceError:
            return

    [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    with pytest.raises(NotDelivered, match="too many bytes before a reply"):
        await send(f"http://127.0.0.1:{port}/", timeout=30)
