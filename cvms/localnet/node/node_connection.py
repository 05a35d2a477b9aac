"""One HTTP/1.x connection: requests in, replies out, with bounds on their time."""

from __future__ import annotations

from contextlib import suppress

import trio

from cvms.localnet.node.request_parser import Headers, HttpRequest, RequestParser

IDLE_SECONDS = 75.0
"""How long a connection may stay idle: longer than HTTP clients keep theirs in a pool."""

TRANSFER_SECONDS = 30.0
"""For the client to send a whole body, and to receive a whole reply."""

READ_BYTES = 64 * 1024

CLOSE = (b"connection", b"close")
CONTINUE = b"HTTP/1.1 100 \r\n\r\n"


class NodeConnection:
    """An HTTP/1.x connection on a stream, one request and reply at a time.

    It must be used within `limit`, which is cancelled when the client is too slow: one scope with
    a deadline that moves costs less than one for each read and write.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.limit = trio.CancelScope()
        self._stream = stream
        self._parser = RequestParser()

    async def read_request(self) -> HttpRequest | None:
        """Return the next request, or None if the client disconnects. Raises RequestRefused."""
        self.limit.deadline = trio.current_time() + IDLE_SECONDS
        while (request := self._parser.next_request()) is None:
            if self._parser.in_body:
                latest = trio.current_time() + TRANSFER_SECONDS
                self.limit.deadline = min(self.limit.deadline, latest)
                if self._parser.take_expectation():
                    await self._stream.send_all(CONTINUE)
            if not (data := await self._stream.receive_some(READ_BYTES)):
                return None
            self._parser.feed(bytes(data))
        self.limit.deadline = float("inf")
        return request

    async def wait_gone(self) -> None:
        """Wait until the client has closed its side or the connection is broken."""
        with suppress(trio.BrokenResourceError):
            while data := await self._stream.receive_some(READ_BYTES):
                self._parser.feed(bytes(data))

    async def reply(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a reply."""
        self.limit.deadline = trio.current_time() + TRANSFER_SECONDS
        lines = [b"%b: %b\r\n" % header for header in headers]
        head = b"HTTP/1.1 %d \r\n%bcontent-length: %d\r\n\r\n" % (
            status,
            b"".join(lines),
            len(body),
        )
        await self._stream.send_all(head + body)
