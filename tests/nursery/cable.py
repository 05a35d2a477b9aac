"""A cable between a replica and PostgreSQL; once it is cut, both ends just hear nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from urllib.parse import parse_qs, urlsplit

import trio


class Cable:
    """A URI that leads to the same database until `cut`."""

    def __init__(self, uri: str, port: int) -> None:
        self.uri = uri
        self.port = port
        self.whole = trio.Event()
        self.whole.set()

    def cut(self) -> None:
        self.whole = trio.Event()


@asynccontextmanager
async def cable(database_url: str) -> AsyncIterator[Cable]:
    """A cable to an embedded server, which listens on a unix socket."""
    parts = urlsplit(database_url)
    [folder] = parse_qs(parts.query)["host"]
    laid: Cable
    ended: list[trio.SocketStream] = []

    async def forward(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        async for data in source:
            await laid.whole.wait()
            await sink.send_all(data)
        await laid.whole.wait()
        await sink.send_eof()

    async def serve(client: trio.SocketStream) -> None:
        await laid.whole.wait()
        async with await trio.open_unix_socket(f"{folder}/.s.PGSQL.5432") as server:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(forward, client, server)
                    nursery.start_soon(forward, server, client)
            except* trio.BrokenResourceError:
                ended.append(client)

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        login = parts.netloc.rpartition("@")[0]
        laid = Cable(f"{parts.scheme}://{login}@127.0.0.1:{port}{parts.path}", port)
        yield laid
        nursery.cancel_scope.cancel()
