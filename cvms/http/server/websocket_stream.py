"""hypercorn's WebSocket protocol with strict limits on the size and number of frames.

hypercorn itself answers any number of pings, buffers a message that it refuses, continues reading
after its 1009, sends no close frame to a client that breaks the protocol, and leaves a connection
open whose handshake it has refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import h11
import trio
from hypercorn.protocol.events import Body, Data, Event, Request, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import (
    ASGIWebsocketState,
    FrameTooLargeError,
    WebsocketBuffer,
    WSStream,
)
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, TextMessage

MAX_EVENTS_PER_SECOND = 1000
"""Message fragments, pings and pongs: far more than a client within its limits ever sends."""

PROTOCOL_ERROR = 1002
POLICY_VIOLATION = 1008
TOO_BIG = 1009
MAX_FRAME = 16 * 1024


class WebSocketStream(WSStream):
    """One WebSocket. Once the client has broken a rule, all further input is ignored."""

    def __init__(self, *args: Any, end_soon: Callable[[], None]) -> None:
        super().__init__(*args)
        self.buffer = _MessageBuffer(self.config.websocket_max_message_size)
        self._end_soon = end_soon
        self._ended = False
        self._second = 0.0
        self._events = 0

    async def handle(self, event: Event) -> None:
        if isinstance(event, StreamClosed):
            try:
                await super().handle(event)
            except trio.Cancelled:
                self.closed = False  # or the next one would be ignored, and the client served on
                raise
        elif not isinstance(event, Body | Data):
            await super().handle(event)
        elif self.state is ASGIWebsocketState.HANDSHAKE:
            await self._refuse_early_frame()
        elif not self._ended and self.handshake.accepted:
            await super().handle(event)

    async def _refuse_early_frame(self) -> None:
        assert self.app_put is not None
        self.closed = True  # whatever the application sends now is dropped
        self._end_soon()
        await self.app_put({"type": "websocket.disconnect", "code": PROTOCOL_ERROR})
        await self._send_error_response(400)
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _handle_events(self) -> None:
        for event in self.connection.events():
            if self._exceeds_rate():
                await self._end(POLICY_VIOLATION, "too many frames")
            elif isinstance(event, Message):
                await self._receive(event)
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, CloseConnection):
                await self._close(event)
            if self._ended:
                return

    def _exceeds_rate(self) -> bool:
        now = trio.current_time()
        if now - self._second > 1:
            self._second, self._events = now, 0
        self._events += 1
        return self._events > MAX_EVENTS_PER_SECOND

    async def _receive(self, event: Message[Any]) -> None:
        try:
            self.buffer.extend(event)
        except FrameTooLargeError:
            await self._end(TOO_BIG, "a message is too big")
            return
        if event.message_finished:
            assert self.app_put is not None
            await self.app_put(self.buffer.to_message())
            self.buffer.clear()

    async def _close(self, event: CloseConnection) -> None:
        if self.connection.state is ConnectionState.OPEN:
            # The client did not send a close frame: wsproto reports that it broke the protocol.
            await self._end(event.code, event.reason)
            return
        self._end_soon()  # no posted frame may follow the answer
        if self.connection.state is ConnectionState.REMOTE_CLOSING:
            await self._send_wsproto_event(event.response())
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def _end(self, code: int, reason: str | None) -> None:
        self._ended = True
        self._end_soon()
        await self._send_wsproto_event(CloseConnection(code=code, reason=reason))


class _MessageBuffer(WebsocketBuffer):
    """Limits the bytes of a message before buffering them."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self._bytes = 0

    def extend(self, event: Message[Any]) -> None:
        data = event.data
        self._bytes += len(data.encode() if isinstance(event, TextMessage) else data)
        if self._bytes > self.max_length:
            raise FrameTooLargeError
        super().extend(event)

    def clear(self) -> None:
        self._bytes = 0
        super().clear()


def wants_websocket(request: h11.Request) -> bool:
    """Return whether the request asks for an upgrade to WebSocket."""
    headers = {name: value.decode("latin1").lower() for name, value in request.headers}
    tokens = [token.strip() for token in headers.get(b"connection", "").split(",")]
    upgrade = headers.get(b"upgrade", "").strip()
    return request.method.upper() == b"GET" and "upgrade" in tokens and upgrade == "websocket"


async def open_websocket(
    protocol: H11Protocol, request: h11.Request, *, end_soon: Callable[[], None]
) -> None:
    """Hand a request that `wants_websocket` to a `WebSocketStream`."""
    stream = protocol.stream = WebSocketStream(
        protocol.app,
        protocol.config,
        protocol.context,
        protocol.task_group,
        protocol.ssl,
        protocol.client,
        protocol.server,
        protocol.stream_send,
        STREAM_ID,
        end_soon=end_soon,
    )
    protocol.connection = H11WSConnection(cast("h11.Connection", protocol.connection))
    await stream.handle(
        Request(
            stream_id=STREAM_ID,
            # No compression: 16 KiB on the wire could become 16 MiB before any limit applies.
            headers=[each for each in request.headers if each[0] != b"sec-websocket-extensions"],
            http_version=request.http_version.decode(),
            method="GET",
            raw_path=request.target,
            state=protocol.connection_state,
        )
    )
    if stream.closed:  # the handshake is refused, which hypercorn does not follow by a close
        await protocol.stream_send(StreamClosed(stream_id=STREAM_ID))
