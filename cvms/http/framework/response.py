"""The response of a handler, with validators (RFC 9110, 13)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from werkzeug.http import parse_etags, quote_etag

from cvms.http.framework.request import Exact, current_request

JSON = "application/json"
NO_BODY = frozenset({204, 304})
"""Statuses of responses without a body, and so without its length (RFC 9110, 8.6)."""


class ByteStream:
    """A body that is made while it is sent. Whoever gets one has to close it.

    It begins with `first`. The rest comes from a generator that has been started, so that it
    releases what it holds however it ends. If it fails, the client must see that the body is not
    whole.
    """

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        self._first: bytes | None = first
        self._rest = rest

    def __aiter__(self) -> ByteStream:
        return self

    async def __anext__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Release what the generator holds."""
        await self._rest.aclose()


@dataclass(slots=True)
class Response:
    """A response to any request. `headers` has no `Content-Length`, which follows from `body`.

    If there is a `stream`, it is the body, and its length is not known.
    """

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stream: ByteStream | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A handler's answer: a value of the type that its route declares for the status."""

    value: Any
    status: int = 200


def content(body: bytes, content_type: str, status: int = 200) -> Response:
    """Return the bytes as a response."""
    return Response(body, status, {"Content-Type": content_type})


_DECODER = msgspec.json.Decoder(float_hook=Exact)


def json_response(value: Any, status: int = 200) -> Response:
    """Return the value as a JSON response."""
    return content(msgspec.json.encode(value, enc_hook=_encode_exact), JSON, status)


def _encode_exact(value: Any) -> msgspec.Raw:
    if not isinstance(value, Exact):
        raise NotImplementedError(type(value))
    whole, _, decimals = f"{value:f}".partition(".")
    decimals = decimals.rstrip("0")
    return msgspec.Raw(f"{whole}.{decimals}" if decimals else whole)


def rewritten(body: bytes, rewrite: Callable[[Any], Any]) -> bytes:
    """Return JSON whose value is rewritten; fractions keep their digits."""
    return msgspec.json.encode(rewrite(_DECODER.decode(body)), enc_hook=_encode_exact)


def conditional(response: Response, etag: str, *, weak: bool = False) -> Response:
    """Return the response with this validator, or 304 if the client already has it."""
    if current_request().amount_strings:
        etag = f"{etag}-strings"  # the same value in other bytes
    known = current_request().header("if-none-match")
    if known is not None and parse_etags(known).contains_weak(etag):
        response = Response(b"", 304)
    response.headers["ETag"] = quote_etag(etag, weak)
    # Store it, but revalidate it before each use.
    response.headers["Cache-Control"] = "no-cache"
    return response


def with_weak_etag(value: Any, version: str) -> Response:
    """Return the value as JSON with a weak validator: equal versions are equivalent.

    Their bytes may differ, in remaining seconds or in whether they came from the cache.
    """
    return conditional(json_response(value), version, weak=True)


def json_with_weak_etag(body: bytes, version: str) -> Response:
    """Return encoded JSON with a weak validator."""
    return conditional(content(body, JSON), version, weak=True)


def with_strong_etag(value: Any) -> Response:
    """Return the value as JSON with a strong validator."""
    return bytes_with_strong_etag(msgspec.json.encode(value))


def bytes_with_strong_etag(body: bytes, content_type: str = JSON) -> Response:
    """Return the bytes with a strong validator, their hash."""
    etag = hashlib.blake2b(body, digest_size=16).hexdigest()
    return conditional(content(body, content_type), etag)
