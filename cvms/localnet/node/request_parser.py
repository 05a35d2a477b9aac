"""HTTP/1.x requests out of the bytes of a connection, with bounds on their size.

`httptools` (llhttp) refuses what is ambiguous about a message's end. This adds what it leaves to
its user: versions, the Host header, sizes, and upgrades to protocols that are not spoken here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import httptools

from cvms.errors import CvmsError

MAX_HEAD_BYTES = 16 * 1024
"""For a head, and for what stands between the parts of a body."""

MAX_BODY_BYTES = 24 * 1024 * 1024
"""The data of the largest account as hex, and room for the rest of the call."""

Headers = Sequence[tuple[bytes, bytes]]


class RequestRefused(CvmsError):
    """The client has sent what is no request, or too much of it. `status` is HTTP's for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A whole request."""

    method: bytes
    target: bytes
    headers: Headers
    """The names are in lower case."""
    body: bytes
    keep_alive: bool

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self.headers if key == name), b"")

    @property
    def wants_websocket(self) -> bool:
        return self.header(b"upgrade").lower() == b"websocket"

    @property
    def raw(self) -> bytes:
        """The bytes of the request, for another parser."""
        lines = [b"%b: %b\r\n" % header for header in self.headers]
        head = b"%b %b HTTP/1.1\r\n" % (self.method, self.target)
        return b"".join((head, *lines, b"\r\n", self.body))


class RequestParser:
    """Takes bytes as they arrive, and returns whole requests in their order."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._whole: deque[HttpRequest] = deque()
        self._refused: RequestRefused | None = None
        self._unfinished_bytes = 0
        """Bytes that have arrived since the parser found the end of anything."""
        self.on_message_begin()

    def next_request(self) -> HttpRequest | None:
        """Return the next whole request, or None if more must arrive.

        Raises RequestRefused once all requests before the invalid one are taken.
        """
        if self._whole:
            return self._whole.popleft()
        if self._refused is not None:
            raise self._refused
        return None

    def feed(self, data: bytes) -> None:
        """Parse what arrived. Nothing must be fed after a request that does not keep alive."""
        self._unfinished_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, str(error))
        if self._unfinished_bytes > MAX_HEAD_BYTES:
            self._refuse(431, "request header fields too large")

    @property
    def in_body(self) -> bool:
        """True between the head of a request and its end."""
        return self._in_body

    def take_expectation(self) -> bool:
        """Return True, once, if the client waits for `100 Continue` before it sends a body."""
        expects = self._in_body and not self._size and (b"expect", b"100-continue") in self._headers
        if expects:
            self._headers.remove((b"expect", b"100-continue"))
        return expects

    def _refuse(self, status: int, reason: str) -> None:
        if self._refused is None:
            self._refused = RequestRefused(status, reason)

    def _upgrade(self, rest: bytes) -> None:
        """Read a request for another protocol than WebSocket as one of HTTP/1.1, with its body.

        Nothing may follow one for WebSocket before it is accepted.
        """
        request = self._whole.pop()
        if request.wants_websocket or request.method == b"CONNECT":
            self._whole.append(replace(request, keep_alive=False))
        else:
            headers = [header for header in request.headers if header[0] != b"upgrade"]
            self._parser = httptools.HttpRequestParser(self)
            self.feed(replace(request, headers=headers, body=rest).raw)

    # --- what the parser finds -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._in_body = False

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # not a trailer
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._in_body = True
        hosts = length = 0
        for name, value in self._headers:
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                length = int(value)
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(505, "HTTP version not supported")
        elif hosts != 1 and (hosts or version == "1.1"):
            self._refuse(400, "one Host header is required")
        elif length > MAX_BODY_BYTES:
            self._refuse(413, "request body too large")

    def on_body(self, part: bytes) -> None:
        self._unfinished_bytes = 0
        self._size += len(part)
        if self._size > MAX_BODY_BYTES:
            self._refuse(413, "request body too large")
        if self._refused is None:
            self._body.append(part)

    def on_message_complete(self) -> None:
        self._unfinished_bytes = 0
        self._in_body = False
        if self._refused is None:
            method, body = self._parser.get_method(), b"".join(self._body)
            keep_alive = self._parser.should_keep_alive()
            self._whole.append(HttpRequest(method, self._target, self._headers, body, keep_alive))
