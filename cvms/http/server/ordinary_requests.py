"""The short way of an ordinary request: bytes to the route's own view, and its response to bytes.

hypercorn, h11 and Quart can serve every request, but for each they start three tasks and pass a
dozen messages. An ordinary request needs none of that: it has arrived whole, is spelled as every
client spells it, and is for a route. llhttp parses it, and the edge answers it in the task of its
connection.

Whatever is not ordinary is left to hypercorn: the parser here returns None when in doubt and never
refuses anything. What it accepts, h11 accepts as the same request; a test compares them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import time

import httptools
from hypercorn.config import Config as HypercornConfig

from cvms.http.framework.edge import MAX_BODY, Edge
from cvms.http.framework.request import Request
from cvms.http.framework.response import NO_BODY, Response

MAX_HEAD = 8 * 1024

# Visible ASCII, single spaces in the first line, no folded lines, and CR LF at the end of each.
# llhttp forgives more than h11.
_PLAIN_HEAD = re.compile(rb"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[\w-]+:[\t -~]*\r\n)*\r\n", re.ASCII)
# No escapes, and no empty segments: the spelling of our own documents.
_PLAIN_PATH = re.compile(rb"(?:/[\w.~-]+)+|/", re.ASCII)
_HOST = re.compile(r"[\w.-]+(?::[0-9]+)?", re.ASCII)
_LENGTH = re.compile(r"[0-9]{1,6}", re.ASCII)
# They change how the message is read, or what is sent besides the response.
_FRAMING = frozenset({"transfer-encoding", "upgrade", "expect", "te", "trailer", "http2-settings"})


@dataclass(frozen=True, slots=True)
class OrdinaryRequest:
    """A request of an ordinary kind, the view that answers it, and its size in bytes."""

    request: Request
    respond: Callable[[], Awaitable[Response]]
    size: int


class OrdinaryRequests:
    """Parses the requests of one connection, and writes the responses as hypercorn would."""

    def __init__(self, app: Edge, *, peer: str, probes_only: bool) -> None:
        self._app = app
        self._peer = peer
        self._probes_only = probes_only
        self._url = b""
        self._headers: dict[str, list[str]] = {}
        self._whole = False
        self.lacks_body = False
        """Whether what was parsed last is ordinary, but for a part of its body."""
        self._parser = httptools.HttpRequestParser(self)
        self._name = secrets.token_hex(5)
        self._numbers = count()

    def on_url(self, url: bytes) -> None:
        """Called by the parser."""
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        text = value.decode("ascii").strip(" \t")
        self._headers.setdefault(name.decode("ascii").lower(), []).append(text)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self._whole = True

    def parse(self, data: bytes) -> OrdinaryRequest | None:
        """Return the request at the start of the data, None unless it is ordinary and whole."""
        self.lacks_body = False
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
        if end < 4 or not _PLAIN_HEAD.fullmatch(data, 0, end):
            return None
        self._headers, self._whole = {}, False
        try:
            self._parser.feed_data(data[:end])
            length = self._length()
            if length is None or end + length > len(data):
                self.lacks_body = length is not None
                self._parser = httptools.HttpRequestParser(self)
                return None
            body = data[end : end + length]
            if body:
                self._parser.feed_data(body)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._parser = httptools.HttpRequestParser(self)
            return None
        if not self._whole or not self._parser.should_keep_alive():
            self._parser = httptools.HttpRequestParser(self)
            return None
        return self._request(body, end + length)

    def _length(self) -> int | None:
        """Return the length of the body; None for headers that are not ordinary."""
        headers = self._headers
        if not _FRAMING.isdisjoint(headers):
            return None
        host = headers.get("host", ())
        if len(host) != 1 or not _HOST.fullmatch(host[0]):
            return None
        if headers.get("connection", ["keep-alive"]) not in (["keep-alive"], ["Keep-Alive"]):
            return None
        lengths = headers.get("content-length")
        if lengths is None:
            return 0
        if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0]) or int(lengths[0]) > MAX_BODY:
            return None
        return int(lengths[0])

    def _request(self, body: bytes, size: int) -> OrdinaryRequest | None:
        raw_path, _, query = self._url.partition(b"?")
        if not _PLAIN_PATH.fullmatch(raw_path):
            return None
        method, path = self._parser.get_method().decode("ascii"), raw_path.decode("ascii")
        found = self._app.routes.find(method, path)
        if found is None:
            return None
        view, variables = found

        async def whole_body() -> bytes:
            return body

        request = Request(
            method,
            path,
            raw_path=raw_path,
            query_string=query,
            headers=self._headers,
            body=whole_body,
            peer=self._peer,
            plain=True,
            probes_only=self._probes_only,
            identity=f"{self._name}{next(self._numbers):06x}",
        )
        return OrdinaryRequest(request, partial(view, request, variables), size)


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return a part of a body whose length is not known (RFC 9112, 7.1); not for an empty one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class ResponseWriter:
    """Writes responses with the headers that hypercorn adds."""

    def __init__(self, config: HypercornConfig) -> None:
        self._config = config
        self._second = 0
        self._added = ""

    def write(self, response: Response, *, last: bool) -> bytes:
        """Return the response's bytes, without those of a stream.

        `last` says that the connection is closed after it. Raises ValueError for a header with a
        line break.
        """
        second = int(time())
        if second != self._second:
            self._second = second
            added = self._config.response_headers("h11")
            self._added = "".join(f"{name.decode()}: {value.decode()}\r\n" for name, value in added)
        lines = [f"{name.lower()}: {value}\r\n" for name, value in response.headers.items()]
        head = "".join(lines)
        if head.count("\n") != len(lines) or head.count("\r") != len(lines):
            raise ValueError("a header of the response has a line break")
        close = "connection: close\r\n" if last else ""
        chunked = "" if response.stream is None else "Transfer-Encoding: chunked\r\n"
        text = f"HTTP/1.1 {response.status} \r\n{head}{self._added}{chunked}{close}\r\n"
        body = b"" if response.status in NO_BODY else response.body
        return text.encode("ascii") + body
