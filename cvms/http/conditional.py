"""Answers that a client may keep, and ask whether they still hold (RFC 9110, 13)."""

from __future__ import annotations

from quart import Response, request


def conditional(response: Response, etag: str) -> Response:
    """The response under this validator, or 304 for a client that has it already."""
    if request.if_none_match.contains_weak(etag):
        response = Response(b"", status=304)
    response.set_etag(etag)
    response.headers["Cache-Control"] = "no-cache"  # keep it, and ask whether it still holds
    return response
