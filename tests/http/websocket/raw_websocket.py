"""A WebSocket client that can send arbitrary bytes and need not read."""

from __future__ import annotations

import json
import socket
import struct
from types import TracebackType
from typing import Any

import trio

from tests.harness.service import Json, Service

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def packed(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """Return one frame. Its mask is zero, so that the payload stays unchanged."""
    head = bytes([opcode | (0x80 if final else 0)])
    bit = 0x80 if masked else 0
    if len(payload) < 126:
        head += bytes([bit | len(payload)])
    elif len(payload) < 2**16:
        head += bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([bit | 127]) + struct.pack(">Q", len(payload))
    return head + (bytes(4) if masked else b"") + payload


def text(**message: Any) -> bytes:
    """Return a JSON message as one frame."""
    return packed(TEXT, json.dumps(message).encode())


class RawWebSocket:
    """An async context manager; connected and greeted unless asked otherwise."""

    def __init__(
        self, service: Service, *, greeted: bool = True, window: int | None = None
    ) -> None:
        self._port = service.port
        self._greeted = greeted
        self._window = window
        self._data = b""
        self.stream: trio.SocketStream

    async def __aenter__(self) -> RawWebSocket:
        client = trio.socket.socket()
        if self._window is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window)
        await client.connect(("127.0.0.1", self._port))
        self.stream = trio.SocketStream(client)
        if self._greeted:
            try:
                await self.send(HANDSHAKE)
                while b"\r\n\r\n" not in self._data:
                    await self._more()
                head, _, self._data = self._data.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 101"), head
                assert (await self.message())["type"] == "connected"
            except BaseException:
                await trio.aclose_forcefully(self.stream)
                raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await trio.aclose_forcefully(self.stream)

    def reset_on_close(self) -> None:
        """End the connection with a reset, as when a process is killed."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def frame(self) -> tuple[int, bytes]:
        """Return the next opcode and payload. Raises EOFError once the service has closed."""
        while (size := _first_payload(self._data)) is None:
            await self._more()
        head, end = size
        opcode, payload = self._data[0] & 15, self._data[head:end]
        self._data = self._data[end:]
        return opcode, payload

    async def message(self) -> Json:
        """Return the next message, skipping other frames."""
        while (got := await self.frame())[0] != TEXT:
            pass
        message: Json = json.loads(got[1])
        return message

    async def close_code(self) -> int:
        """Read until the service closes, and return the close code."""
        with trio.fail_after(20):
            while (got := await self.frame())[0] != CLOSE:
                pass
        return int.from_bytes(got[1][:2], "big")

    async def _more(self) -> None:
        try:
            with trio.fail_after(60):
                data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise EOFError(self._data[:200])
        self._data += data


def _first_payload(data: bytes) -> tuple[int, int] | None:
    """Return the start and the end of the first payload; None until it is complete."""
    if len(data) < 2:
        return None
    size, head = data[1], 2
    if size in (126, 127):
        head = 4 if size == 126 else 10
        if len(data) < head:
            return None
        size = int.from_bytes(data[2:head], "big")
    return (head, head + size) if len(data) >= head + size else None
