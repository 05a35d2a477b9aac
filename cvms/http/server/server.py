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
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext

from cvms.config.settings import Config
from cvms.errors import ConfigurationError
from cvms.http.framework.client_address import group_address, is_trusted
from cvms.http.framework.edge import Edge
from cvms.http.server.connection_pool import ConnectionPool
from cvms.http.server.http_connection import HttpConnection
from cvms.http.server.listeners import connection_limit, open_listeners
from cvms.http.server.ordinary_requests import ResponseWriter
from cvms.http.server.websocket_stream import MAX_FRAME

log = structlog.get_logger(__name__)

PROBE_CONNECTIONS = 64
# Part of the shutdown deadline reserved for aborting connections and for the rest of the process.
ABORT_SECONDS = 1.0


async def serve_http(
    app: Edge,
    *,
    config: Config,
    shutdown: trio.Event,
    listener: socket.socket | None = None,
    admin_listener: socket.socket | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until `shutdown` is set and the requests in progress are answered.

    Listens on `listener` and `admin_listener` if given; other processes may share them. Reports the
    URL once connections are accepted, with the actual port if `config.port` is 0. Returns within
    `config.shutdown_deadline` of the shutdown. Raises ConfigurationError if it cannot listen.
    """
    server = _Server(app, config=config, going_away=shutdown)
    ports = {server.clients: await _listeners(config.host, config.port, listener, "PORT")}
    admin_port = config.listening.admin_port if listener is None else None
    if admin_listener is not None or admin_port is not None:
        try:
            ports[server.probes] = await _listeners(
                config.host, admin_port or 0, admin_listener, "ADMIN_PORT"
            )
        except ConfigurationError:
            for opened in ports[server.clients]:
                await opened.aclose()
            raise
    url = _url(ports[server.clients][0])
    async with trio.open_nursery() as tasks:
        try:
            async with trio.open_nursery() as accepting:
                for pool, listeners in ports.items():
                    tasks.start_soon(pool.report)
                    accepting.start_soon(
                        partial(trio.serve_listeners, handler_nursery=tasks),
                        partial(server.serve, pool),
                        listeners,
                    )
                for task in app.background:
                    tasks.start_soon(task)
                log.info("http_listening", url=url, urls=[_url(*each) for each in ports.values()])
                task_status.started(url)
                await shutdown.wait()
                accepting.cancel_scope.cancel()
            with trio.move_on_after(config.shutdown_deadline - ABORT_SECONDS):
                for hook in app.shutdown_hooks:
                    await hook()
                await server.finish()
        finally:
            log.info("http_stopped", aborted=server.abort())
            tasks.cancel_scope.cancel()


async def _listeners(
    host: str, port: int, inherited: socket.socket | None, setting: str
) -> list[trio.SocketListener]:
    if inherited is None:
        return await open_listeners(host, port, setting=setting)
    return [trio.SocketListener(trio.socket.from_stdlib_socket(inherited))]


class _Server:
    """The open connections and their shared state."""

    def __init__(self, app: Edge, *, config: Config, going_away: trio.Event) -> None:
        self._app = app
        self._config = config
        self._hypercorn_config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._writer = ResponseWriter(self._hypercorn_config)
        self._going_away = going_away
        total = connection_limit(config.listening.connections)
        per_address = min(config.listening.per_address, total - total // 4)
        refused = app.metrics.http.refused
        self.clients = ConnectionPool(total=total, per_address=per_address, refused=refused)
        """The connections of the port for everybody."""
        self.probes = ConnectionPool(
            total=PROBE_CONNECTIONS, per_address=PROBE_CONNECTIONS, refused=refused
        )
        """The connections of the port for probes."""

    async def serve(self, pool: ConnectionPool, stream: trio.SocketStream) -> None:
        """Serve one client of a port until its connection ends."""
        try:
            peer = stream.socket.getpeername()[0]
        except OSError:
            await trio.aclose_forcefully(stream)  # it is gone already
            return
        connection = HttpConnection(
            stream,
            app=self._app,
            writer=self._writer,
            config=self._hypercorn_config,
            context=self._context,
            pool=pool,
            address=self._counted_address(peer),
            keep_alive=self._config.listening.keep_alive,
            probes_only=pool is self.probes,
            going_away=self._going_away,
        )
        if not pool.admit(connection):
            await trio.aclose_forcefully(stream)
            return
        try:
            await connection.run()
        finally:
            pool.remove(connection)

    def _counted_address(self, peer: str) -> str | None:
        trusted = is_trusted(peer, self._config.trusted_proxies)
        return None if trusted else group_address(peer)

    async def finish(self) -> None:
        """Close the connections, busy ones after their responses, and wait until all are closed."""
        await self._context.terminated.set()
        for pool in (self.clients, self.probes):
            pool.finish()
        for pool in (self.clients, self.probes):
            await pool.wait_until_empty()

    def abort(self) -> int:
        """Abort the remaining connections, since shielded writes would outlast a cancellation.

        Returns how many there were.
        """
        return self.clients.abort() + self.probes.abort()


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
