"""One client's TCP connection, served by hypercorn's HTTP/1.1 and WebSocket protocols.

hypercorn's own transport shields every write from cancellation without a deadline, so a client that
stops reading blocks its task and the shutdown for ever. An error in its protocol code, which an odd
header of a client can cause, ends the whole server. Here each write has a deadline, and an error
ends only its connection. TLS and HTTP/2 are left to the proxy.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable, Hashable

import structlog
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState, LifespanState

from cvms.errors import CvmsError
from cvms.http.framework.edge import Edge
from cvms.http.framework.request import end_request
from cvms.http.framework.response import ByteStream
from cvms.http.server.connection_pool import ConnectionPool
from cvms.http.server.http1_protocol import Http1Protocol
from cvms.http.server.ordinary_requests import LAST_CHUNK, OrdinaryRequests, ResponseWriter, chunk
from cvms.http.server.send_queue import SendQueue

log = structlog.get_logger(__name__)

CHUNK = 65536
# For a request to arrive: head and body, from its first byte. A body has a second more for each
# RECEIVE_RATE bytes that have arrived.
RECEIVE_SECONDS = 10.0
RECEIVE_RATE = 4096
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
        app: Edge,
        writer: ResponseWriter,
        config: HypercornConfig,
        context: WorkerContext,
        pool: ConnectionPool,
        address: str | None,
        keep_alive: float,
        probes_only: bool,
        going_away: trio.Event,
    ) -> None:
        self.address = address
        """Of the client, as connections are counted; None for a trusted proxy."""
        self.waiting_since: float | None = trio.current_time()
        """When it began to wait for a request; None while one is handled, and for a WebSocket."""
        self.buffered = 0
        """Bytes of a body that has not arrived completely."""
        self.going_away = going_away
        """Set when the server shuts down."""
        self.on_finish: Callable[[], None] | None = None
        """Called when the server shuts down, so that a WebSocket can be closed properly."""
        self.last_received_at = trio.current_time()
        """When the client last sent anything, pongs included; on trio's clock."""
        self._stream = stream
        self._app = app
        self._writer = writer
        self._config = config
        self._context = context
        self._tasks: TaskGroup | None = None
        self._queue = SendQueue()
        self._flushing = False
        self._write_lock = trio.Lock()
        self._pool = pool
        self._keep_alive = keep_alive
        self._probes_only = probes_only
        self._reading = trio.CancelScope(deadline=trio.current_time() + keep_alive)
        self._receiving = False
        self._lingering = trio.CancelScope()
        self._broken = False
        self._unread = False
        self._ending = False
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

    def admit_websocket(self) -> bool:
        """Count the connection as a WebSocket, or return False if there are too many."""
        return self._pool.admit_websocket(self)

    def bound_buffer(self) -> None:
        """Limit the kernel's send buffer. Called once the connection is a WebSocket."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WEBSOCKET_BUFFER)

    def post(self, frame: bytes, *, conflation_key: Hashable | None = None) -> None:
        """Queue a WebSocket frame for the next `flush`; `conflation_key` as in `SendQueue.add`.

        A frame for a client that has closed its side or broken the protocol is dropped.
        """
        if not self._ending:
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
        elif self.waiting_since is not None and not self._receiving:
            self._reading.cancel()
        last = now + LAST_LINGER_SECONDS
        self._lingering.deadline = min(self._lingering.deadline, last)

    def abort(self) -> None:
        """Close the socket at once. Tasks that wait for the client continue and find it closed."""
        self._broken = True
        self._reading.cancel()
        self._stream.socket.close()

    def _end_soon(self) -> None:
        self._ending = True
        self._reading.deadline = trio.current_time() + LAST_LINGER_SECONDS

    async def _serve(self) -> None:
        address = self._stream.socket.getpeername()[:2]
        ordinary = OrdinaryRequests(self._app, peer=address[0], probes_only=self._probes_only)
        server = self._stream.socket.getsockname()[:2]
        async with TaskGroup() as tasks:
            self._tasks = tasks
            protocol = Http1Protocol(
                ASGIWrapper(self._app),
                self._config,
                self._context,
                tasks,
                ConnectionState(
                    LifespanState({"connection": self, "probes_only": self._probes_only})
                ),
                False,
                address,
                server,
                self._handle,
                on_request=self._on_request,
                end_soon=self._end_soon,
            )
            with self._reading:
                await self._read(protocol, ordinary)
            if self._receiving and trio.current_time() >= self._reading.deadline:
                self._pool.count("slow")
                await protocol.refuse_slow_request()
            await protocol.handle(Closed())

    async def _read(self, protocol: Http1Protocol, ordinary: OrdinaryRequests) -> None:
        held = b""
        while True:
            received = data = b""  # an idle connection keeps nothing of what it has answered
            received = await self._receive()
            self.last_received_at = trio.current_time()
            self._new = False
            data = held + received
            if received and protocol.is_idle:
                data = await self._answer_ordinary(data, protocol, ordinary)
                # Many clients send the body by itself.
                held = data if ordinary.lacks_body and not held else b""
                if held:
                    self._wait_for_rest(len(held))
                if held or not data:
                    continue
            await protocol.handle(RawData(data))
            if not received:
                if data:
                    await protocol.handle(RawData(b""))
                return
            if self.waiting_since is not None and protocol.is_receiving:
                self._wait_for_rest(protocol.buffered)

    async def _answer_ordinary(
        self, data: bytes, protocol: Http1Protocol, ordinary: OrdinaryRequests
    ) -> bytes:
        """Answer the ordinary requests at the start of the data; return what follows them."""
        while data and protocol.keep_alive_requests < self._config.keep_alive_max_requests:
            parsed = ordinary.parse(data)
            if parsed is None:
                break
            data = data[parsed.size :]
            protocol.keep_alive_requests += 1
            self._on_request()
            response = await self._app.answer(parsed.request, parsed.respond)
            closing = self._context.terminated
            last = closing.is_set()
            await self._send(self._writer.write(response, last=last))
            if response.stream is not None:
                await self._send_stream(response.stream)
            if data and not last:  # others take their turn before the next one
                await trio.lowlevel.checkpoint()
            self._on_response()
            end_request()
            if last or self._broken or (closing.is_set() and not data):
                self._unread = True
                self._reading.cancel()
                return b""
        return data

    async def _send_stream(self, stream: ByteStream) -> None:
        """Write a body of unknown length. One that fails ends with the connection."""
        try:
            async for data in stream:
                await self._send(chunk(data))
                if self._broken:
                    return
            await self._send(LAST_CHUNK)
        except (CvmsError, trio.TooSlowError) as error:
            log.warning("stream_ended_early", reason=str(error))
            self.abort()
        finally:
            await stream.aclose()

    async def _send(self, data: bytes) -> None:
        """Write a whole response, at once if the socket accepts it."""
        try:
            sent = os.write(self._stream.socket.fileno(), data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        if sent < len(data):
            await self._write(data[sent:])

    async def _receive(self) -> bytes:
        """Return what the client sends next; at its end, once it is this connection's turn."""
        data = None
        while data is None:
            # An aborted connection has no socket to wait for.
            await trio.lowlevel.checkpoint_if_cancelled()
            # As a rule there is nothing yet: `receive_some` would ask the kernel once more.
            await trio.lowlevel.wait_readable(self._stream.socket)
            try:
                data = os.read(self._stream.socket.fileno(), CHUNK)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError:
                await self._pool.wait_to_close()
                raise
        if not data:
            await self._pool.wait_to_close()
        return data

    def _wait_for_rest(self, buffered: int) -> None:
        """Limit the time for the rest of a request, of which this many bytes are buffered."""
        if not self._receiving:
            self._receiving = True
            self.waiting_since = trio.current_time()
        assert self.waiting_since is not None
        self._pool.hold(self, buffered)
        seconds = RECEIVE_SECONDS + self.buffered / RECEIVE_RATE
        self._reading.deadline = self.waiting_since + seconds

    def _on_request(self) -> None:
        self.waiting_since = None
        self._receiving = False
        self._reading.deadline = math.inf
        if self.buffered:
            self._pool.release(self)

    def _on_response(self) -> None:
        self.waiting_since = trio.current_time()
        self._reading.deadline = self.waiting_since + self._keep_alive

    async def _handle(self, event: Event) -> None:
        match event:
            case RawData(data=data):
                await self._write(data)
            case Updated(idle=True):
                self._on_response()
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
