"""A port before a service, whose connections a test can break, refuse, or leave without answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio


class Gate:
    """Forwards bytes to `port` of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.open = True
        self.answers_to_lose = 0
        """How many answers still come to nothing: the service gives them, and the line breaks."""
        self.connections = 0
        self._scopes: set[trio.CancelScope] = set()

    def cut(self) -> None:
        """Break every connection, without a word."""
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
    """A gate before the service on `port`, and the URL that leads through it."""
    gate = Gate(port)
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, gate.serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        yield gate, f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()
