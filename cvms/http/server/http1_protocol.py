"""HTTP/1.1 by hypercorn and h11, with requests that are complete and whose end is certain.

The application sees a request once its body has arrived, so that a slow client takes nothing but
its connection. A message that another parser could end elsewhere is refused: a proxy in front would
take the rest for the next client's request (RFC 9112, 6.1, 6.3 and 11.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import h11
from h11._receivebuffer import ReceiveBuffer
from hypercorn.events import Closed, RawData
from hypercorn.protocol.events import Body, EndBody, Event
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream

from cvms.http.framework.edge import MAX_BODY
from cvms.http.server.websocket_stream import open_websocket, wants_websocket

CONTINUE = 100
BAD_REQUEST = 400
REQUEST_TIMEOUT = 408
BODY_TOO_LARGE = 413
VERSION_NOT_SUPPORTED = 505

MAX_CHUNKS = 1024
"""Of a body: each costs as much time as many bytes."""

# RFC 9112, 3.2 and 3.2.2. No user information, which no client sends.
_NAME = rb"[^/?#@:\[\]\\, \t]"
_HOST = re.compile(rb"(\[[0-9a-f:.]+\]|%b*)(:[0-9]*)?" % _NAME, re.I)
_ABSOLUTE_FORM = re.compile(
    rb"https?://(?P<host>(?:\[[0-9a-f:.]+\]|%b+)(?::[0-9]*)?)(?P<path>[/?].*)?" % _NAME, re.I
)


class Http1Protocol(H11Protocol):
    """HTTP/1.1 without other protocols, and WebSockets with limits.

    `on_request` is called when the application gets a request, `end_soon` when a WebSocket is to
    be closed.
    """

    def __init__(
        self, *args: Any, on_request: Callable[[], None], end_soon: Callable[[], None]
    ) -> None:
        super().__init__(*args)
        parser = StrictConnection(max_incomplete_event_size=self.config.h11_max_incomplete_size)
        self.connection = self._parser = parser
        self._on_request = on_request
        self._end_soon = end_soon
        self._head = b""
        self._refused = False

    @property
    def buffered(self) -> int:
        """Return how many bytes have arrived of a body that is not complete."""
        return len(self.stream.body) if isinstance(self.stream, IncompleteRequest) else 0

    @property
    def is_receiving(self) -> bool:
        """Return whether a part of a request has arrived that the application does not have."""
        return self._parser.their_state is h11.SEND_BODY or self._parser.has_unparsed

    @property
    def is_idle(self) -> bool:
        """Return whether the client may send a request, and has not begun to."""
        parser = self._parser
        return (
            self.connection is parser
            and self.stream is None
            and parser.our_state is h11.IDLE
            and parser.their_state is h11.IDLE
            and not parser.has_unparsed
        )

    async def refuse_slow_request(self) -> None:
        """Answer a request that does not arrive. Call it only if the application has none."""
        if not self._refused:
            await self._send_error_response(REQUEST_TIMEOUT)
            await self.send(Closed())

    async def dispatch(self, request: h11.Request, body: bytes, *, whole: bool) -> None:
        """Hand a request to the application. Without the end of its body it is answered 413."""
        self._on_request()
        await super()._create_stream(request)
        if body or whole:
            stream = cast("HTTPStream", self.stream)
            await stream.app_put({"type": "http.request", "body": body, "more_body": not whole})

    async def _create_stream(self, request: h11.Request) -> None:
        origin_form = in_origin_form(request)
        lengths = [int(value) for name, value in request.headers if name == b"content-length"]
        has_body = bool(lengths) or _is_chunked(request)
        if origin_form is None:
            await self._refuse()
        elif wants_websocket(request):
            if has_body:  # its bytes would be taken for frames
                await self._refuse()
                return
            self._on_request()
            await open_websocket(self, origin_form, end_soon=self._end_soon)
        elif has_body and sum(lengths) <= MAX_BODY:
            self.stream = cast("HTTPStream", IncompleteRequest(self, origin_form))
        else:
            await self.dispatch(origin_form, b"", whole=False)

    async def _refuse(self) -> None:
        await self._send_error_response(BAD_REQUEST)
        await self.send(Closed())

    async def _send_error_response(self, status_code: int) -> None:
        self._refused = True
        await super()._send_error_response(status_code)

    async def _send_h11_event(
        self, event: h11.Data | h11.EndOfMessage | h11.InformationalResponse | h11.Response
    ) -> None:
        """Send a response's head together with its first data: sends are the costliest part."""
        if (
            isinstance(event, h11.InformationalResponse)
            and event.status_code == CONTINUE
            and not isinstance(self.stream, IncompleteRequest)
        ):
            return  # the body is refused
        if isinstance(event, h11.Response) and self._is_last():
            event = _with_connection_close(event)
        try:
            data = self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if not self._refused and self.connection.their_state is not h11.ERROR:
                raise
            return
        if isinstance(event, h11.Response):
            self._head = data
        elif whole := self._head + data:
            self._head = b""
            await self.send(RawData(whole))

    def _is_last(self) -> bool:
        """Return whether the connection closes after this response.

        It does when the service shuts down, when a WebSocket is refused, and when the client has
        not sent its whole body: what follows would be taken for the next request.
        """
        return (
            self.context.terminated.is_set()
            or isinstance(self.connection, H11WSConnection)
            or self.connection.their_state is h11.SEND_BODY
        )

    async def _check_protocol(self, event: h11.Request) -> None:
        """Refuse to upgrade to HTTP/2 in clear text, which would bypass a proxy's checks."""


class IncompleteRequest:
    """A request whose body has not arrived. It stands in for hypercorn's stream until it has."""

    def __init__(self, protocol: Http1Protocol, request: h11.Request) -> None:
        self._protocol = protocol
        self._request = request
        self.body = bytearray()

    async def handle(self, event: Event) -> None:
        """Take a part of the body, and hand the request on after the last one, or one too many."""
        if isinstance(event, Body):
            self.body += event.data
            if len(self.body) <= MAX_BODY:
                return
        elif not isinstance(event, EndBody):
            return  # the client is gone
        whole = isinstance(event, EndBody)
        await self._protocol.dispatch(self._request, bytes(self.body), whole=whole)


class StrictConnection(h11.Connection):
    """h11's parser, without what it forgives: each message has one end for every parser."""

    def __init__(self, *, max_incomplete_event_size: int) -> None:
        super().__init__(h11.SERVER, max_incomplete_event_size)
        self._receive_buffer: RecordingBuffer = RecordingBuffer()
        self._chunks: int | None = None
        """Parts of the body so far if it is sent in chunks."""

    @property
    def has_unparsed(self) -> bool:
        """Return whether something has arrived that is no event yet."""
        return bool(self._receive_buffer)

    def next_event(self) -> Any:
        """Return the next event. Raises RemoteProtocolError for a message whose end is in doubt."""
        if self.their_state is not h11.IDLE and not self._in_chunks:
            self._receive_buffer.parsed = None
            return super().next_event()
        if self._receive_buffer.parsed is None:
            self._receive_buffer.parsed = bytearray()
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            if error.error_status_hint == 501:  # a coding besides chunked, or chunked twice
                raise h11.RemoteProtocolError(str(error)) from error
            raise
        if event is not h11.NEED_DATA:
            self._check(event, self._receive_buffer.parsed)
            self._receive_buffer.parsed = None
        return event

    @property
    def _in_chunks(self) -> bool:
        return self._chunks is not None and self.their_state is h11.SEND_BODY

    def _check(self, event: object, parsed: bytearray) -> None:
        if isinstance(event, h11.Request):
            _check_framing(event, parsed)
            self._chunks = 0 if _is_chunked(event) else None
        elif isinstance(event, h11.Data) and self._chunks is not None:
            del parsed[-len(event.data) :]
            self._chunks += 1
            if self._chunks > MAX_CHUNKS:
                raise h11.RemoteProtocolError("too many chunks", error_status_hint=BODY_TOO_LARGE)
        # The lines of the head, or those around the data of chunks: sizes, ends, trailers.
        _check_lines(parsed)


class RecordingBuffer(ReceiveBuffer):
    """Keeps what h11 has parsed since `parsed` was set, since its events do not have all of it."""

    parsed: bytearray | None = None

    def _extract(self, count: int) -> bytearray:
        extracted: bytearray = super()._extract(count)
        if self.parsed is not None:
            self.parsed += extracted
        return extracted


def _check_lines(text: bytearray) -> None:
    lines = text.count(b"\r\n")
    if text.count(b"\n") != lines or text.count(b"\r") != lines:
        raise h11.RemoteProtocolError("a line does not end with CR LF")
    if b"\n " in text or b"\n\t" in text:
        raise h11.RemoteProtocolError("a header is folded")


def _check_framing(request: h11.Request, head: bytearray) -> None:
    if not request.http_version.startswith(b"1."):
        raise h11.RemoteProtocolError("not HTTP/1", error_status_hint=VERSION_NOT_SUPPORTED)
    # h11 merges equal lengths, so they are counted in what the client sent.
    lines = [line for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    if len(lines) > 1 or (lines and b"," in lines[0]):
        raise h11.RemoteProtocolError("more than one Content-Length")
    if _is_chunked(request) and (lines or request.http_version == b"1.0"):
        raise h11.RemoteProtocolError("Transfer-Encoding with Content-Length, or in HTTP/1.0")


def _is_chunked(request: h11.Request) -> bool:
    return any(name == b"transfer-encoding" for name, _ in request.headers)


def in_origin_form(request: h11.Request) -> h11.Request | None:
    """Return the request with a path as its target, and the target's host; None if it has none.

    None also if the host is malformed. `OPTIONS *` is about the server as a whole and stays as it
    is.
    """
    if not all(_HOST.fullmatch(value) for name, value in request.headers if name == b"host"):
        return None
    if request.target.startswith(b"/"):
        return request
    options = request.method == b"OPTIONS"
    if request.target == b"*":
        return request if options else None
    match = _ABSOLUTE_FORM.fullmatch(request.target)
    if match is None:
        return None
    path = match["path"] or (b"*" if options else b"/")
    others = [(name, value) for name, value in request.headers if name != b"host"]
    return h11.Request(
        method=request.method,
        target=b"/" + path if path.startswith(b"?") else path,
        headers=[(b"host", match["host"]), *others],
        http_version=request.http_version,
    )


def _with_connection_close(response: h11.Response) -> h11.Response:
    """Return the response with the header by which a client knows not to send another request."""
    if (b"connection", b"close") in response.headers:
        return response
    return h11.Response(
        status_code=response.status_code,
        headers=[*response.headers, (b"connection", b"close")],
        reason=response.reason,
    )
