"""The listening sockets: hypercorn's protocols inside our nursery, and an orderly end.

At shutdown: stop accepting, tell WebSockets what is committed, let them say 1001, answer the
requests under way, and cut what is left when the deadline passes.
"""

from __future__ import annotations

import logging
import socket

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
# Left of the shutdown deadline for cutting connections and for whatever ends after us.
CUT_SECONDS = 1.0


async def serve_http(
    app: Edge,
    *,
    config: Config,
    shutdown: trio.Event,
    listener: socket.socket | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set and the requests under way are answered.

    With a `listener`, which other processes may share, it listens there. Reports its URL once it
    accepts connections, with the real port where `config.port` is 0. Returns within
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
                accepting.start_soon(_accept, server, listeners, clients)
                for task in app.background:
                    clients.start_soon(task)
                log.info("http_listening", url=url)
                task_status.started(url)
                await shutdown.wait()
                accepting.cancel_scope.cancel()
            with trio.move_on_after(config.shutdown_deadline - CUT_SECONDS):
                for say in app.shutdown_hooks:
                    await say()
                await server.finish()
        finally:
            log.info("http_stopped", cut=server.cut())
            clients.cancel_scope.cancel()


async def _accept(
    server: _Server, listeners: list[trio.SocketListener], clients: trio.Nursery
) -> None:
    await trio.serve_listeners(server.serve, listeners, handler_nursery=clients)


class _Server:
    """The open connections and what they share."""

    def __init__(self, app: Edge, *, going_away: trio.Event) -> None:
        self._app = ASGIWrapper(app)
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._going_away = going_away
        self._connections: set[HttpConnection] = set()
        self._empty = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one client to its end."""
        if len(self._connections) >= MAX_CONNECTIONS:
            log.warning("too_many_connections", open=len(self._connections))
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
        """Close the idle connections, and the others after their answers; returns at the last."""
        await self._context.terminated.set()
        for connection in list(self._connections):
            connection.finish()
        while self._connections:
            self._empty = trio.Event()
            await self._empty.wait()

    def cut(self) -> int:
        """Drop what is left: a write, being shielded, would outlast a cancellation. How many."""
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
