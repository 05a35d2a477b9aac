"""A WebSocket client whose socket is closed for sure."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
import trio_websocket


@asynccontextmanager
async def opened(
    url: str, headers: Mapping[str, str] | None = None, *, max_message_size: int = 2**20
) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Connected to a `ws://host:port/path`.

    trio-websocket leaves the stream open when the server closes first, so it is opened here.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    extra = [(name.encode(), text.encode()) for name, text in (headers or {}).items()]
    async with (
        await trio.open_tcp_stream(parts.hostname, parts.port) as stream,
        trio.open_nursery() as nursery,
    ):
        async with await trio_websocket.wrap_client_stream(
            nursery,
            stream,
            parts.hostname,
            parts.path,
            extra_headers=extra,
            max_message_size=max_message_size,
        ) as socket:
            yield socket
        # Its reader waits forever to hand over a message if the server died before the close frame.
        nursery.cancel_scope.cancel()
