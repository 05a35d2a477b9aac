"""Open-loop HTTP load: requests are due at fixed times, whether or not others have been answered.

Latency counts from when a request was due, so that a server that stalls cannot hide the requests
which had to wait.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import trio

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Result:
    """Sorted milliseconds from due to answered; replies other than 200; late sends."""

    milliseconds: list[float]
    failures: int
    seconds: float

    def percentile(self, share: float) -> float:
        return self.milliseconds[
            min(len(self.milliseconds) - 1, int(share * len(self.milliseconds)))
        ]


async def load(port: int, paths: Sequence[str], *, rate: float, seconds: float) -> Result:
    """Request these paths in turn, `rate` times a second, over persistent loopback connections."""
    send, receive = trio.open_memory_channel[tuple[float, str]](int(rate * seconds) + 1)
    milliseconds: list[float] = []
    failures = 0

    async def ask(socket: trio.SocketStream) -> None:
        nonlocal failures
        async for due, path in tasks:
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            await socket.send_all(request.encode())
            failures += await _status(socket) != 200
            milliseconds.append((trio.current_time() - due) * 1000)

    tasks = receive
    with trio.fail_after(seconds * 3 + 10):
        sockets = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(CONNECTIONS)]
        async with trio.open_nursery() as nursery, send:
            for socket in sockets:
                nursery.start_soon(ask, socket)
            begin = trio.current_time()
            due = zip(range(int(rate * seconds)), itertools.cycle(paths), strict=False)
            for number, path in due:
                await trio.sleep_until(begin + number / rate)
                send.send_nowait((begin + number / rate, path))
            send.close()
        for socket in sockets:
            await socket.aclose()
    return Result(sorted(milliseconds), failures, trio.current_time() - begin)


async def _status(socket: trio.SocketStream) -> int:
    """Read one reply with a Content-Length and return its status."""
    got = b""
    while (end := got.find(b"\r\n\r\n")) < 0:
        got += await _some(socket)
    head = got[:end].lower()
    length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
    missing = length - (len(got) - end - 4)
    while missing > 0:
        missing -= len(await _some(socket))
    return int(head.split(b" ")[1])


async def _some(socket: trio.SocketStream) -> bytes:
    data = await socket.receive_some(65536)
    if not data:
        raise ConnectionError("the server has closed a connection")
    return bytes(data)
