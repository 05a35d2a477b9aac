"""Replies of handlers as responses, with validators (RFC 9110, 13)."""

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
    """What a view answers: a value of the type that its route declares for the status."""

    value: Any
    status: int = 200


def response_of(outcome: Reply | CvmsError) -> Response:
    """The response for an answer, or for an outcome that is not success."""
    if isinstance(outcome, CvmsError):
        return problem_response(problem_of(outcome) or unexpected())
    return json_response(outcome.value, outcome.status)


def conditional(response: Response, etag: str, *, weak: bool = False) -> Response:
    """The response under this validator, or 304 for a client that has it already."""
    if request.if_none_match.contains_weak(etag):
        response = Response(b"", status=304)
    response.set_etag(etag, weak)
    response.headers["Cache-Control"] = "no-cache"  # keep it, and ask whether it still holds
    return response


def with_weak_etag(value: Any, version: str) -> Response:
    """The value as JSON under a weak validator: what has the same version says the same.

    Its bytes may differ still, in seconds that pass or in what came from the cache.
    """
    return conditional(json_response(value), version, weak=True)


def with_strong_etag(value: Any) -> Response:
    """The value as JSON under a strong validator, the hash of its bytes."""
    body = msgspec.json.encode(value)
    etag = hashlib.blake2b(body, digest_size=16).hexdigest()
    return conditional(Response(body, content_type="application/json"), etag)
