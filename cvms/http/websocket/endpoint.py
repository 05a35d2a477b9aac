"""`/ws`: lets clients in, so many from one address, and shows them out.

What a client may ask, and what it is told, is in `ws_client` and docs/websocket.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
import trio
from quart import websocket
from werkzeug.exceptions import TooManyRequests

from cvms.errors import DatabaseUnavailable
from cvms.http.framework.dependencies import Dependencies
from cvms.http.server.http_connection import HttpConnection
from cvms.http.websocket.client_session import (
    INTERNAL_ERROR,
    ClientSession,
    Ending,
    WebSocketLimits,
)
from cvms.http.websocket.heartbeat import Heartbeat
from cvms.store.messaging import outbox

__all__ = ["WebSocketEndpoint", "WebSocketLimits"]

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 1.0
DRAIN_SECONDS = 1.0
"""At the end, for what is committed to be handed out."""


class WebSocketEndpoint:
    """Every WebSocket comes and goes through here."""

    def __init__(self, deps: Dependencies, limits: WebSocketLimits) -> None:
        self._deps = deps
        self._limits = limits
        self._open: Counter[str] = Counter()
        self.heartbeat = Heartbeat()
        """Somebody has to run it."""

    async def serve(self) -> None:
        """Serve the current WebSocket to its end."""
        connection: HttpConnection = websocket.scope["state"]["connection"]
        with self._connection_slot(self._deps.limits.address_of(websocket)):
            await websocket.accept()
            client = ClientSession(
                self._deps,
                connection,
                self._limits,
                self.heartbeat,
                authorization=websocket.headers.get("Authorization"),
            )
            try:
                ending = await client.run()
            except* Exception:
                log.exception("websocket_failed")
                ending = Ending(INTERNAL_ERROR, "internal error")
            await _close(connection, ending)

    async def drain(self) -> None:
        """Before all are closed: return once the hub has handed out what is committed, or could
        not in time.
        """
        hub = self._deps.hub
        if not len(hub):
            return
        with trio.move_on_after(DRAIN_SECONDS), suppress(DatabaseUnavailable):
            async with self._deps.database.connection() as conn:
                head = await outbox.head(conn)
            await hub.wait_for_position(head)

    @contextmanager
    def _connection_slot(self, address: str) -> Iterator[None]:
        if self._open[address] >= self._limits.connections_per_ip:
            raise TooManyRequests("Too many WebSockets from this address.", retry_after=10)
        self._open[address] += 1
        self._deps.metrics.websocket_clients.inc()
        try:
            yield
        finally:
            self._deps.metrics.websocket_clients.dec()
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


async def _close(connection: HttpConnection, ending: Ending) -> None:
    with trio.move_on_after(CLOSE_SECONDS):
        await websocket.close(ending.code, ending.reason)
        # Ends with the client's own close frame: Quart cancels its handlers then.
        await trio.sleep_forever()
    connection.abort()
