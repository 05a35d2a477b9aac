"""A TCP proxy in front of a service, whose connections a test can break or refuse."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio


class Gate:
    """Forwards connections to `port` on this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open = True
        self.answers_to_lose = 0
        """Number of replies to lose: the service sends them, and the connection is closed."""
        self.connections = 0
        self._scopes: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """Close every connection."""
        for scope in self._scopes:
            scope.cancel()

    async def serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        if not self.open:
            return
        with trio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                async with (
                    await trio.open_tcp_stream("127.0.0.1", self.port) as service,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(self._ask, client, service, nursery)
                    nursery.start_soon(self._answer, service, client, nursery)
            except* (trio.BrokenResourceError, OSError):
                pass
        self._scopes.discard(scope)

    async def _ask(
        self, client: trio.SocketStream, service: trio.SocketStream, nursery: trio.Nursery
    ) -> None:
        async for data in client:
            await service.send_all(data)
        nursery.cancel_scope.cancel()

    async def _answer(
        self, service: trio.SocketStream, client: trio.SocketStream, nursery: trio.Nursery
    ) -> None:
        async for data in service:
            if self.answers_to_lose:
                self.answers_to_lose -= 1
                break
            await client.send_all(data)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def gated(port: int) -> AsyncIterator[tuple[Gate, str]]:
    """Open a gate to the service on `port`, and yield it with its URL."""
    gate = Gate(port)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, gate.serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        yield gate, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
