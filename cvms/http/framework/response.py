"""Conversion of handlers' replies to responses, with validators (RFC 9110, 13)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
from quart import Response, request

from cvms.errors import CvmsError
from cvms.http.framework.problems import problem_of, problem_response, unexpected
from cvms.http.framework.request import json_response


@dataclass(frozen=True, slots=True)
class Reply:
    """A handler's answer: a value of the type that its route declares for the status."""

    value: Any
    status: int = 200


def response_of(outcome: Reply | CvmsError) -> Response:
    """Return the response for a reply or an error."""
    if isinstance(outcome, CvmsError):
        return problem_response(problem_of(outcome) or unexpected())
    return json_response(outcome.value, outcome.status)


def conditional(response: Response, etag: str, *, weak: bool = False) -> Response:
    """Return the response with this validator, or 304 if the client already has it."""
    if request.if_none_match.contains_weak(etag):
        response = Response(b"", status=304)
    response.set_etag(etag, weak)
    response.headers["Cache-Control"] = "no-cache"  # store it, but revalidate it before each use
    return response


def with_weak_etag(value: Any, version: str) -> Response:
    """Return the value as JSON with a weak validator: equal versions are equivalent.

    Their bytes may differ, in remaining seconds or in whether they came from the cache.
    """
    return conditional(json_response(value), version, weak=True)


def json_with_weak_etag(content: bytes, version: str) -> Response:
    """Return encoded JSON with a weak validator."""
    return conditional(Response(content, content_type="application/json"), version, weak=True)


def with_strong_etag(value: Any) -> Response:
    """Return the value as JSON with a strong validator."""
    return bytes_with_strong_etag(msgspec.json.encode(value))


def bytes_with_strong_etag(content: bytes, content_type: str = "application/json") -> Response:
    """Return the bytes with a strong validator, their hash."""
    etag = hashlib.blake2b(content, digest_size=16).hexdigest()
    return conditional(Response(content, content_type=content_type), etag)
