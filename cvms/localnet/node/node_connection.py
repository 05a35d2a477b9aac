"""One HTTP/1.1 connection: requests in, replies out, with bounds on size and time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import h11
import trio

from cvms.errors import CvmsError

IDLE_SECONDS = 75.0
"""How long a kept-alive connection may stay silent; longer than pooled clients keep theirs."""

TRANSFER_SECONDS = 30.0
"""To send a whole request, and to take a whole reply."""

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 24 * 1024 * 1024
"""The longest account's data as hex, and room for the call around it."""

READ_BYTES = 64 * 1024

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Request:
    """A whole request; `raw` is what the socket delivered up to the end of its head."""

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
    """The request's body is longer than a node takes."""


class HttpConnection:
    """Reads one request at a time from a stream, and writes the reply to it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._raw = b""

    async def read_request(self) -> Request | None:
        """The next request, or None once the client has gone or stays silent.

        Raises h11.RemoteProtocolError for bytes that are not HTTP, BodyTooLarge, and
        trio.TooSlowError when the body does not arrive.
        """
        self._raw = b""
        with trio.move_on_after(IDLE_SECONDS):
            head = await self._next_event()
            if not isinstance(head, h11.Request):
                return None
            raw = self._raw
            # an upgrade's connection goes to someone else, with whatever came after the head
            body = b"" if _is_upgrade(head) else await self._read_body(head)
            return Request(head.method, head.target, list(head.headers), body, raw)
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
        """Return once the client has closed its side, or its connection broke."""
        with suppress(trio.BrokenResourceError):
            while data := await self._stream.receive_some(READ_BYTES):
                self._h11.receive_data(bytes(data))

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Raises trio.TooSlowError when the client does not take it."""
        head = [*headers, (b"content-length", b"%d" % len(body))]
        with trio.fail_after(TRANSFER_SECONDS):
            await self._send(h11.Response(status_code=status, headers=head))
            await self._send(h11.Data(data=body))
            await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        if data := self._h11.send(event):
            await self._stream.send_all(data)

    def next_cycle(self) -> bool:
        """Make ready for another request; False if the connection ends here."""
        if self._h11.our_state is h11.MUST_CLOSE or self._h11.their_state is not h11.DONE:
            return False
        self._h11.start_next_cycle()
        return True


def _is_upgrade(head: h11.Request) -> bool:
    return any(key == b"upgrade" and value.lower() == b"websocket" for key, value in head.headers)
