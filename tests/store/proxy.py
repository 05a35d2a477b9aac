"""Stands between a client and PostgreSQL: ends TLS, or keeps silent.

The embedded server is built without TLS; what is tested here is the client's side of it.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio
import trustme

SSL_REQUEST = struct.pack("!ii", 8, 80877103)


@asynccontextmanager
async def tls_proxy(server_port: int, authority: trustme.CA, name: str) -> AsyncIterator[int]:
    """Yield a port that speaks PostgreSQL with TLS for `name` and forwards to `server_port`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def serve(client: trio.SocketStream) -> None:
        asked = await client.receive_some(len(SSL_REQUEST))
        if asked != SSL_REQUEST:
            return  # this server requires TLS
        await client.send_all(b"S")
        tls = trio.SSLStream(client, context, server_side=True)
        try:
            await tls.do_handshake()
        except trio.BrokenResourceError:
            return  # the client rejected the certificate
        async with await trio.open_tcp_stream("127.0.0.1", server_port) as server:
            await _forward_both_ways(tls, server)
            await tls.aclose()  # sends close_notify, which libpq requires

    async with _listening(serve) as port:
        yield port


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Yield a port that accepts connections and never sends anything."""

    async def serve(client: trio.SocketStream) -> None:
        async for _ in client:
            continue

    async with _listening(serve) as port:
        yield port


@asynccontextmanager
async def _listening(
    serve: Callable[[trio.SocketStream], Awaitable[None]],
) -> AsyncIterator[int]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def _forward_both_ways(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    async with trio.open_nursery() as nursery:

        async def forward(source: trio.abc.Stream, sink: trio.abc.Stream) -> None:
            with suppress(trio.BrokenResourceError):  # the peer has closed the connection
                while data := await source.receive_some(2**16):
                    await sink.send_all(data)
            nursery.cancel_scope.cancel()

        nursery.start_soon(forward, one, other)
        nursery.start_soon(forward, other, one)
