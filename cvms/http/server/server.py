"""The HTTP server: listening sockets, hypercorn's protocols in our nursery, and orderly shutdown.

A shutdown stops accepting, publishes committed events to WebSockets, closes them with 1001,
finishes the requests in progress, and aborts what is left at the deadline.
"""

from __future__ import annotations

import logging
import socket
from functools import partial

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext

from cvms.config.settings import Config
from cvms.http.framework.edge import Edge
from cvms.http.server.http_connection import HttpConnection
from cvms.http.server.websocket_stream import MAX_FRAME

log = structlog.get_logger(__name__)

BACKLOG = 1024
MAX_CONNECTIONS = 8192
# Part of the shutdown deadline reserved for aborting connections and for the rest of the process.
ABORT_SECONDS = 1.0


async def serve_http(
    app: Edge,
    *,
    config: Config,
    shutdown: trio.Event,
    listener: socket.socket | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set and the requests in progress are answered.

    Listens on `listener` if given; other processes may share it. Reports the URL once connections
    are accepted, with the actual port if `config.port` is 0. Returns within
    `config.shutdown_deadline` of the shutdown. Raises OSError if it cannot listen.
    """
    server = _Server(app, going_away=shutdown)
    if listener is None:
        listeners = await trio.open_tcp_listeners(config.port, host=config.host, backlog=BACKLOG)
    else:
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(listener))]
    url = _url(listeners[0])
    async with trio.open_nursery() as clients:
        try:
            async with trio.open_nursery() as accepting:
                accepting.start_soon(
                    partial(trio.serve_listeners, handler_nursery=clients), server.serve, listeners
                )
                for task in app.background:
                    clients.start_soon(task)
                log.info("http_listening", url=url)
                task_status.started(url)
                await shutdown.wait()
                accepting.cancel_scope.cancel()
            with trio.move_on_after(config.shutdown_deadline - ABORT_SECONDS):
                for hook in app.shutdown_hooks:
                    await hook()
                await server.finish()
        finally:
            log.info("http_stopped", aborted=server.abort())
            clients.cancel_scope.cancel()


class _Server:
    """The open connections and their shared state."""

    def __init__(self, app: Edge, *, going_away: trio.Event) -> None:
        self._app = ASGIWrapper(app)
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._going_away = going_away
        self._connections: set[HttpConnection] = set()
        self._empty = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client until its connection ends."""
        if len(self._connections) >= MAX_CONNECTIONS:
            log.warning("connection_refused", open=len(self._connections))
            await trio.aclose_forcefully(stream)
            return
        connection = HttpConnection(
            stream,
            app=self._app,
            config=self._config,
            context=self._context,
            going_away=self._going_away,
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._empty.set()

    async def finish(self) -> None:
        """Close the connections, busy ones after their responses, and wait until all are closed."""
        await self._context.terminated.set()
        for connection in list(self._connections):
            connection.finish()
        while self._connections:
            self._empty = trio.Event()
            await self._empty.wait()

    def abort(self) -> int:
        """Abort the remaining connections, since shielded writes would outlast a cancellation.

        Returns how many there were.
        """
        for connection in self._connections:
            connection.abort()
        return len(self._connections)


def _url(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _hypercorn_config() -> HypercornConfig:
    config = HypercornConfig()
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    config.websocket_max_message_size = MAX_FRAME
    return config
