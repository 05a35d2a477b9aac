"""One HTTP POST to one URL, with a bounded response body.

It uses httpx's transport without its client. The client logs each request's whole URL, which may
hold an API key, and follows redirects and proxies.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
import trio

from cvms.chain.rpc.transport.jsonrpc import MalformedResponse
from cvms.secret_urls import basic_credentials

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_CONNECTIONS = 32
MAX_ERROR_BYTES = 4096

_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")
_TAGS = re.compile(r"<(script|style)\b.*?(</\1>|$)|<[^>]*>?", re.DOTALL | re.IGNORECASE)


class BadStatus(Exception):
    """The response has another status than 200.

    `words` is all that the body says; it may quote the URL, so it is not in the message.
    `retry_after` is in seconds.
    """

    def __init__(self, status: int, words: str, retry_after: float) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.words = words
        self.retry_after = retry_after


@asynccontextmanager
async def open_http() -> AsyncIterator[httpx.AsyncHTTPTransport]:
    """Open a transport that keeps connections alive, and closes them at the end."""
    limits = httpx.Limits(
        max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
    )
    context = httpx.create_ssl_context()
    async with httpx.AsyncHTTPTransport(verify=context, limits=limits) as http:
        yield http


async def post(http: httpx.AsyncBaseTransport, url: str, body: bytes, *, seconds: float) -> bytes:
    """Return the response body. Connecting, writing, reading and so on may take `seconds` each.

    Raises BadStatus, MalformedAnswer, and what httpx raises.
    """
    request = build_request(url, body)
    request.extensions = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), seconds)}
    response = await http.handle_async_request(request)
    try:
        if response.status_code != httpx.codes.OK:
            after = retry_after(response.headers.get("retry-after", ""))
            raise BadStatus(response.status_code, await _words(response), after)
        return await _bounded_body(response)
    finally:
        await response.aclose()


def build_request(raw: str, body: bytes) -> httpx.Request:
    """Return the request. Raises httpx.InvalidURL or ValueError, which may quote the URL."""
    url = httpx.URL(raw)
    headers = {
        "host": url.netloc.decode("ascii"),
        "content-type": "application/json",
        "content-length": str(len(body)),
        "accept-encoding": "gzip",
        "user-agent": "cvms",
    }
    if url.userinfo:
        headers["authorization"] = f"Basic {basic_credentials(raw)}"
    return httpx.Request("POST", url, headers=headers, stream=_Body(body))


class _Body(httpx.AsyncByteStream):
    """Request body. httpx's own is an async generator, which a cancelled request would abandon."""

    def __init__(self, content: bytes) -> None:
        self._parts = [content]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


async def _bounded_body(response: httpx.Response) -> bytes:
    content = await _read(response, MAX_BODY_BYTES)
    return _decoded(content, response.headers.get("content-encoding", "identity"))


async def _read(response: httpx.Response, limit: int) -> bytes:
    content = bytearray()
    with trio.CancelScope() as too_long:
        async for chunk in response.aiter_raw():
            content += chunk
            if len(content) > limit:
                # Unwinds httpx's nested async generators, which a break would abandon.
                too_long.cancel()
    if len(content) > limit:
        raise MalformedResponse(f"a body of more than {limit} bytes")
    return bytes(content)


async def _words(response: httpx.Response) -> str:
    """Return what the body of an error says, in one line; nothing if it cannot be read."""
    try:
        content = await _read(response, MAX_ERROR_BYTES)
        content = _decoded(content, response.headers.get("content-encoding", "identity"))
    except (MalformedResponse, httpx.RequestError):
        return ""
    try:
        text = _message(msgspec.json.decode(content))
    except (msgspec.DecodeError, RecursionError):
        text = _TAGS.sub(" ", content.decode(errors="replace"))
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _message(body: Any) -> str:
    """Return the message in the JSON of an error, wherever providers put it."""
    if isinstance(body, list) and body:
        return _message(body[0])
    if isinstance(body, dict):
        for name in ("error", "message", "detail", "reason"):
            if body.get(name):
                return _message(body[name])
    return body if isinstance(body, str) else ""


def _decoded(content: bytes, encoding: str) -> bytes:
    if encoding == "identity":
        return content
    if encoding != "gzip":
        raise MalformedResponse("a body in an encoding that was not asked for")
    stream = zlib.decompressobj(wbits=31)  # 31: gzip with the largest window
    try:
        decoded = stream.decompress(content, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise MalformedResponse("a body that is not gzip") from None
    if len(decoded) > MAX_BODY_BYTES:
        raise MalformedResponse(f"a body of more than {MAX_BODY_BYTES} bytes")
    if not stream.eof:
        raise MalformedResponse("a body cut short")
    return decoded


def retry_after(value: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float:
    """Return the seconds of a Retry-After header, which holds seconds or a date; 0 for neither."""
    if _SECONDS.fullmatch(value) and value.isascii():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    if date.tzinfo is None:  # "-0000": UTC, in an unknown time zone
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now()).total_seconds())
