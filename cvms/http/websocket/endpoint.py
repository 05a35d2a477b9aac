"""The endpoint `/ws`: accepts clients, limits them by address, and closes their connections.

The protocol is in `client_session` and docs/websocket.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
import trio
from quart import websocket
from werkzeug.exceptions import TooManyRequests

from cvms.errors import DatabaseUnavailable, Overloaded
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import current_request
from cvms.http.server.http_connection import HttpConnection
from cvms.http.websocket.client_session import (
    ACCOUNT,
    CLIENT,
    CLOSE_KINDS,
    FAULT,
    INTERNAL_ERROR,
    ClientSession,
    Ending,
    WebSocketLimits,
)
from cvms.http.websocket.heartbeat import HeartbeatScheduler
from cvms.http.websocket.operations_feed import OperationsFeed
from cvms.store.messaging import outbox
from cvms.store.messaging.topics import Topic

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 1.0
DRAIN_SECONDS = 1.0
"""At shutdown, for committed events to be published."""


class WebSocketEndpoint:
    """Serves every WebSocket of this process."""

    def __init__(
        self, deps: Dependencies, limits: WebSocketLimits, operations: OperationsFeed
    ) -> None:
        self._deps = deps
        self._limits = limits
        self._operations = operations
        self._open: Counter[str] = Counter()
        metrics = deps.metrics.websockets
        self._frames_of = {
            topic: metrics.frames.labels(topic=topic) for topic in (*map(str, Topic), ACCOUNT)
        }
        deps.metrics.series.start_at_zero(metrics.closed, reason=CLOSE_KINDS)
        self.heartbeat = HeartbeatScheduler()
        """Must be run by the server."""

    async def serve(self) -> None:
        """Serve the current WebSocket until it is closed."""
        connection: HttpConnection = websocket.scope["state"]["connection"]
        with self._connection_slot(self._deps.limits.address_of(current_request())):
            if not connection.admit_websocket():
                raise Overloaded("The service has as many WebSockets as it can. Try again later.")
            await websocket.accept()
            client = ClientSession(
                self._deps,
                connection,
                self._limits,
                self.heartbeat,
                frames_of=self._frames_of,
                operations=self._operations,
                authorization=websocket.headers.get("Authorization"),
            )
            with self._counted_end() as end:
                try:
                    ending = await client.run()
                except* Exception:
                    log.exception("websocket_failed")
                    ending = Ending(INTERNAL_ERROR, "internal error", FAULT)
                end.append(ending.kind)
            await _close(connection, ending)

    async def drain(self) -> None:
        """Wait until the hub has published all committed events, at most `DRAIN_SECONDS`."""
        hub = self._deps.hub
        if not len(hub):
            return
        with trio.move_on_after(DRAIN_SECONDS), suppress(DatabaseUnavailable):
            async with self._deps.database.connection() as conn:
                head = await outbox.head(conn)
            await hub.wait_for_position(head)

    @contextmanager
    def _counted_end(self) -> Iterator[list[str]]:
        """Count the end of a session by the kind that the block appends, else as the client's."""
        kinds: list[str] = []
        try:
            yield kinds
        finally:
            kind = kinds[0] if kinds else CLIENT
            self._deps.metrics.websockets.closed.labels(reason=kind).inc()

    @contextmanager
    def _connection_slot(self, address: str) -> Iterator[None]:
        if self._open[address] >= self._limits.connections_per_ip:
            raise TooManyRequests(
                f"This address has {self._open[address]} open WebSockets, the maximum. Close one "
                "first.",
                retry_after=10,
            )
        self._open[address] += 1
        self._deps.metrics.websockets.clients.inc()
        try:
            yield
        finally:
            self._deps.metrics.websockets.clients.dec()
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]


async def _close(connection: HttpConnection, ending: Ending) -> None:
    with trio.move_on_after(CLOSE_SECONDS):
        await websocket.close(ending.code, ending.reason)
        # The client's own close frame ends this: Quart then cancels the handler.
        await trio.sleep_forever()
    connection.abort()
