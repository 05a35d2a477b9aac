"""One HTTP/1.1 connection: requests in, replies out, with bounds on size and time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import h11
import trio

from cvms.errors import CvmsError

IDLE_SECONDS = 75.0
"""How long a connection may stay idle: longer than HTTP clients keep theirs in a pool."""

TRANSFER_SECONDS = 30.0
"""For the client to send a whole request, and to receive a whole reply."""

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 24 * 1024 * 1024
"""The data of the largest account as hex, and room for the rest of the call."""

READ_BYTES = 64 * 1024

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request. `raw` is what was read from the socket with its head."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes
    raw: bytes

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key == name), b"")

    @property
    def wants_websocket(self) -> bool:
        return self.header(b"upgrade").lower() == b"websocket"


class BodyTooLarge(CvmsError):
    """The body of a request is larger than a node accepts."""


class NodeConnection:
    """An HTTP/1.1 connection on a stream, one request and reply at a time."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._raw = b""

    async def read_request(self) -> HttpRequest | None:
        """Return the next request, or None if the client disconnects or stays idle.

        Raises h11.RemoteProtocolError for invalid HTTP, BodyTooLarge, and trio.TooSlowError if
        the body does not arrive in time.
        """
        self._raw = b""
        with trio.move_on_after(IDLE_SECONDS):
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            raw = self._raw
            # the protocol that an upgrade switches to reads what follows the head
            body = b"" if _is_upgrade(head) else await self._read_body(head)
            return HttpRequest(head.method, head.target, list(head.headers), body, raw)
        return None

    async def _read_body(self, head: h11.Request) -> bytes:
        length = next((int(value) for key, value in head.headers if key == b"content-length"), 0)
        if length > MAX_BODY_BYTES:
            raise BodyTooLarge
        body = bytearray()
        with trio.fail_after(TRANSFER_SECONDS):
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            while isinstance(event := await self._next_event(), h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    raise BodyTooLarge
        return bytes(body)

    async def _next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            data = await self._stream.receive_some(READ_BYTES)
            if len(self._raw) < MAX_HEAD_BYTES:
                self._raw += data
            self._h11.receive_data(bytes(data))

    async def wait_gone(self) -> None:
        """Wait until the client has closed its side or the connection is broken."""
        with suppress(trio.BrokenResourceError):
            while data := await self._stream.receive_some(READ_BYTES):
                self._h11.receive_data(bytes(data))

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a reply. Raises trio.TooSlowError if the client does not receive it in time."""
        head = [*headers, (b"content-length", b"%d" % len(body))]
        with trio.fail_after(TRANSFER_SECONDS):
            await self._send(h11.Response(status_code=status, headers=head))
            await self._send(h11.Data(data=body))
            await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        if data := self._h11.send(event):
            await self._stream.send_all(data)

    def next_cycle(self) -> bool:
        """Prepare for the next request. Return False if the connection must end."""
        if self._h11.our_state is h11.MUST_CLOSE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True


def _is_upgrade(head: h11.Request) -> bool:
    return any(key == b"upgrade" and value.lower() == b"websocket" for key, value in head.headers)
