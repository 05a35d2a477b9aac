"""One client's TCP connection, served by hypercorn's HTTP/1.1 and WebSocket protocols.

hypercorn's own transport shields every write from cancellation without a deadline, so a client that
stops reading blocks its task and the shutdown for ever. An error in its protocol code, which an odd
header of a client can cause, ends the whole server. Here each write has a deadline, and an error
ends only its connection. TLS and HTTP/2 are left to the proxy.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Hashable
from typing import Any

import h11
import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from cvms.http.server.send_queue import SendQueue
from cvms.http.server.websocket_stream import open_websocket, wants_websocket

log = structlog.get_logger(__name__)

CHUNK = 65536
IDLE_SECONDS = 15.0  # without a request in progress, or for a request's head to arrive
WRITE_SECONDS = 10.0  # for a client to receive what is written
# For a client to stop sending after the response. Data that arrives after the close resets the
# connection, and the client may lose the response.
LINGER_SECONDS = 5.0
LAST_LINGER_SECONDS = 0.5  # the same during shutdown, or after the client broke the protocol
FIRST_REQUEST_SECONDS = 0.1  # during shutdown, for the request that a new connection was made for
# Bytes that the kernel buffers for a slow WebSocket, where newer frames cannot replace older ones.
WEBSOCKET_BUFFER = 64 * 1024


class HttpConnection:
    """Serves one client until it leaves, is idle or slow for too long, or `finish` is called."""

    def __init__(
        self,
        stream: trio.SocketStream,
        *,
        app: ASGIWrapper,
        config: HypercornConfig,
        context: WorkerContext,
        going_away: trio.Event,
    ) -> None:
        self.going_away = going_away
        """Set when the server shuts down."""
        self.on_finish: Callable[[], None] | None = None
        """Called when the server shuts down, so that a WebSocket can be closed properly."""
        self.last_received_at = trio.current_time()
        """When the client last sent anything, pongs included; on trio's clock."""
        self._stream = stream
        self._app = app
        self._config = config
        self._context = context
        self._tasks: TaskGroup | None = None
        self._queue = SendQueue()
        self._flushing = False
        self._write_lock = trio.Lock()
        self._reading = trio.CancelScope(deadline=trio.current_time() + IDLE_SECONDS)
        self._lingering = trio.CancelScope()
        self._broken = False
        self._unread = False
        self._new = True

    async def run(self) -> None:
        """Serve the client. Raises nothing but cancellation; errors are logged."""
        try:
            await self._serve()
            await self._linger()
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("connection_lost")
        except* Exception:
            # Usually caused by a client's invalid bytes, but possibly a fault of ours.
            log.warning("connection_failed", exc_info=True)
        finally:
            await trio.aclose_forcefully(self._stream)

    def bound_buffer(self) -> None:
        """Limit the kernel's send buffer. Called once the connection is a WebSocket."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WEBSOCKET_BUFFER)

    def post(self, frame: bytes, *, conflation_key: Hashable | None = None) -> None:
        """Queue a WebSocket frame for the next `flush`; `conflation_key` as in `SendQueue.add`."""
        self._queue.add(frame, conflation_key=conflation_key)

    def flush(self) -> int:
        """Write as many posted frames as the socket accepts; a task writes the rest.

        Never waits. Returns the number of frames left, which the caller must limit.
        """
        if self._write_lock.locked():
            return len(self._queue)
        if self._broken:
            return 0
        try:
            self._queue.write(self._stream.socket.fileno())
        except OSError:
            self.abort()
            return 0
        if self._queue and not self._flushing and self._tasks is not None:
            self._flushing = True
            self._tasks.spawn(self._flush_rest)
        return len(self._queue)

    async def drain(self) -> None:
        """Wait until all posted frames are written, or the client is gone."""
        while self._queue and not self._broken:
            await self._write(None)

    async def _flush_rest(self) -> None:
        try:
            await self.drain()
        finally:
            self._flushing = False

    def finish(self) -> None:
        """Close the connection: at once if idle, else after the response in progress."""
        if self.on_finish is not None:
            self.on_finish()
        now = trio.current_time()
        if self._new:
            self._reading.deadline = min(self._reading.deadline, now + FIRST_REQUEST_SECONDS)
        elif self._reading.deadline < math.inf:
            self._reading.cancel()
        last = now + LAST_LINGER_SECONDS
        self._lingering.deadline = min(self._lingering.deadline, last)

    def abort(self) -> None:
        """Close the socket at once. Tasks that wait for the client continue and find it closed."""
        self._broken = True
        self._reading.cancel()
        self._stream.socket.close()

    def _end_soon(self) -> None:
        self._reading.deadline = trio.current_time() + LAST_LINGER_SECONDS

    async def _serve(self) -> None:
        address = self._stream.socket.getpeername()[:2]
        server = self._stream.socket.getsockname()[:2]
        async with TaskGroup() as tasks:
            self._tasks = tasks
            protocol = _Http1(
                self._app,
                self._config,
                self._context,
                tasks,
                ConnectionState(LifespanState({"connection": self})),
                False,
                address,
                server,
                self._handle,
                end_soon=self._end_soon,
            )
            with self._reading:
                await self._read(protocol)
            await protocol.handle(Closed())

    async def _read(self, protocol: H11Protocol) -> None:
        while True:
            data = await self._stream.receive_some(CHUNK)
            self.last_received_at = trio.current_time()
            self._new = False
            await protocol.handle(RawData(bytes(data)))
            if not data:
                return

    async def _handle(self, event: Event) -> None:
        match event:
            case RawData(data=data):
                await self._write(data)
            case Updated(idle=True):
                self._reading.deadline = trio.current_time() + IDLE_SECONDS
            case Updated():
                self._reading.deadline = math.inf
            case Closed():
                self._unread = True
                self._reading.cancel()

    async def _write(self, data: bytes | None) -> None:
        """Write the posted frames and then `data`; with None, only some of the posted frames.

        Aborts the connection on failure: nothing may follow an incomplete write.
        """
        async with self._write_lock:
            if self._broken:
                return
            self._broken = True
            with trio.CancelScope(deadline=trio.current_time() + WRITE_SECONDS, shield=True):
                try:
                    posted = self._queue.take(CHUNK if data is None else None)
                    await self._stream.send_all(posted + (data or b""))
                    self._broken = False
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    log.debug("client_gone")
            if self._broken:
                self.abort()
        if self._queue:
            self.flush()  # frames posted in the meantime

    async def _linger(self) -> None:
        if self._broken or not self._unread:
            return
        seconds = LAST_LINGER_SECONDS if self.going_away.is_set() else LINGER_SECONDS
        self._lingering.deadline = trio.current_time() + seconds
        with self._lingering:
            await self._stream.send_eof()
            while await self._stream.receive_some(CHUNK):
                pass


class _Http1(H11Protocol):
    """HTTP/1.1 without other protocols, and WebSockets with limits."""

    def __init__(self, *args: Any, end_soon: Callable[[], None]) -> None:
        super().__init__(*args)
        self._end_soon = end_soon
        self._head = b""

    async def _send_h11_event(
        self, event: h11.Data | h11.EndOfMessage | h11.InformationalResponse | h11.Response
    ) -> None:
        """Send a response's head together with its first data: sends are the costliest part."""
        if isinstance(event, h11.Response) and self._is_last():
            event = _with_connection_close(event)
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head = data
        elif whole := self._head + data:
            self._head = b""
            await self.send(RawData(whole))

    def _is_last(self) -> bool:
        """Return whether the connection closes after this response.

        It does when the service shuts down, and when the client has not sent its whole body: what
        follows would be taken for the next request.
        """
        return self.context.terminated.is_set() or self.connection.their_state is h11.SEND_BODY

    async def _check_protocol(self, event: h11.Request) -> None:
        """Refuse to upgrade to HTTP/2 in clear text, which would bypass a proxy's checks."""

    async def _create_stream(self, request: h11.Request) -> None:
        if not request.target.startswith(b"/"):
            # A target in absolute form, or "*", is meant for a proxy.
            await self._send_error_response(400)
            await self.send(Closed())
            return
        if wants_websocket(request):
            await open_websocket(self, request, end_soon=self._end_soon)
        else:
            await super()._create_stream(request)


def _with_connection_close(response: h11.Response) -> h11.Response:
    """Return the response with the header by which a client knows not to send another request."""
    return h11.Response(
        status_code=response.status_code,
        headers=[*response.headers, (b"connection", b"close")],
        reason=response.reason,
    )
