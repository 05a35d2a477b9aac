"""TCP proxy before any server, which delays, corrupts, cuts, stops and refuses connections.

It knows bytes and no protocol, so the same faults happen to PostgreSQL, Redis, RPC and webhooks.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

CHUNK = 2**16
RESET_AT_CLOSE = struct.pack("ii", 1, 0)

Connect = Callable[[], Awaitable[trio.SocketStream]]


class TcpProxy:
    """A port that leads to a server. Its faults may be changed at any time, `heal` ends them."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._clients: dict[trio.SocketStream, trio.CancelScope] = {}
        self._flowing = trio.Event()
        self.port = 0
        self.heal()

    def heal(self) -> None:
        """End all faults. Connections that were stopped continue."""
        self.delay = 0.0
        """Seconds that each piece of an answer waits."""
        self.corrupt: Callable[[bytes], bytes] = bytes
        """What each piece of an answer becomes."""
        self.refusing = False
        """New connections are reset at once."""
        self._flowing.set()

    def stop(self) -> None:
        """Pass nothing on: both ends receive nothing, and neither sees its connection closed."""
        if self._flowing.is_set():
            self._flowing = trio.Event()

    def cut(self) -> None:
        """Reset every open connection."""
        for client, serving in self._clients.items():
            _reset(client)
            serving.cancel()
        self._clients.clear()

    def refuse(self) -> None:
        """Reset every open connection, and each new one."""
        self.refusing = True
        self.cut()

    async def serve(self, client: trio.SocketStream) -> None:
        """Serve one client until either end closes."""
        if self.refusing:
            _reset(client)
            return
        try:
            with trio.CancelScope() as self._clients[client]:
                await self._flowing.wait()
                async with await self._connect() as server, trio.open_nursery() as nursery:
                    nursery.start_soon(self._forward, client, server)
                    await self._forward(server, client, answers=True)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # one end has closed the connection, or cannot be reached
        finally:
            self._clients.pop(client, None)

    async def _forward(
        self, source: trio.SocketStream, sink: trio.SocketStream, *, answers: bool = False
    ) -> None:
        while data := await source.receive_some(CHUNK):
            if answers:
                await trio.sleep(self.delay)
                data = self.corrupt(bytes(data))
            await self._flowing.wait()
            await sink.send_all(data)
        await self._flowing.wait()
        await sink.send_eof()


def _reset(client: trio.SocketStream) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
    client.socket.close()


async def serve_proxy(
    connect: Connect, *, task_status: trio.TaskStatus[TcpProxy] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve a proxy before what `connect` leads to, until cancelled."""
    proxy = TcpProxy(connect)
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, proxy.serve, 0, host="127.0.0.1"))
        proxy.port = listener.socket.getsockname()[1]
        task_status.started(proxy)


@asynccontextmanager
async def tcp_proxy(connect: Connect) -> AsyncIterator[TcpProxy]:
    """Serve a proxy before what `connect` leads to, for the block."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_proxy, connect)
        nursery.cancel_scope.cancel()
