"""TCP proxy between a replica and PostgreSQL, whose connection can be interrupted.

After that both ends receive nothing, and neither sees its connection closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

import trio


class DatabaseProxy:
    """A URI of the same database, which leads there until `cut`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.connected = trio.Event()
        self.connected.set()

    def cut(self) -> None:
        self.connected = trio.Event()


@asynccontextmanager
async def database_proxy(database_url: str) -> AsyncIterator[DatabaseProxy]:
    """Serve a proxy of an embedded server, which listens on a Unix socket."""
    parts = urlsplit(database_url)
    [folder] = parse_qs(parts.query)["host"]
    proxy: DatabaseProxy

    async def forward(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await proxy.connected.wait()
            await sink.send_all(data)
        await proxy.connected.wait()
        await sink.send_eof()

    async def serve(client: trio.SocketStream) -> None:
        await proxy.connected.wait()
        async with await trio.open_unix_socket(f"{folder}/.s.PGSQL.5432") as server:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(forward, client, server)
                    nursery.start_soon(forward, server, client)
            except* trio.BrokenResourceError:
                pass  # one end has closed the connection

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        proxy = DatabaseProxy(f"{parts.scheme}://{login}@127.0.0.1:{port}{parts.path}")
        yield proxy
        nursery.cancel_scope.cancel()
