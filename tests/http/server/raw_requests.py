"""Requests as bytes, from any address of loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tests.harness.service import Service

HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW = (
    b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 60000\r\n\r\n{"
)
"""A request of whose body only one byte is sent."""
HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@asynccontextmanager
async def connected(
    service: Service, address: str = "127.0.0.1", *, port: int | None = None
) -> AsyncIterator[trio.SocketStream]:
    """Connect from one of the addresses of loopback, all of which are this machine's."""
    port = port or service.port
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=address)
    async with stream:
        yield stream


async def ask(stream: trio.SocketStream, request: bytes = HEALTH) -> bytes:
    """Send a request, and return the first bytes of the answer; b"" if the server closes."""
    with trio.fail_after(10):
        try:
            await stream.send_all(request)
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""


async def answers(stream: trio.SocketStream, request: bytes) -> bytes:
    """Send bytes, and return everything that the server sends until it closes the connection."""
    received = b""
    with trio.fail_after(10):
        await stream.send_all(request)
        try:
            async for data in stream:
                received += data
        except trio.BrokenResourceError:
            pass
    return received


async def refusals(service: Service, reason: str) -> float:
    """Return how often something was refused for a reason, as the metrics have it."""
    name = f'cvms_http_refused_total{{reason="{reason}"}} '
    lines = (await service.get("/metrics")).text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))
