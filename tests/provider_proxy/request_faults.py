"""Faults of whole HTTP requests: refusals, refused batches, pages, cut bodies, late answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.provider_proxy.fault import Call, Fault, HttpReply, RequestFault

PAGE = b"<!DOCTYPE html><html><head><title>One moment</title></head><body></body></html>"


@dataclass(slots=True, kw_only=True, eq=False)
class HttpRefusal(RequestFault):
    """The request is answered by a status: 403, 405, 410, 429, 500, 502, 503."""

    status: int = 403
    body: bytes = b'{"error":"This method is not available on your plan"}'
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def reply(self, answered: bytes) -> HttpReply:
        return HttpReply(self.status, self.body, self.content_type, self.headers)


@dataclass(slots=True, kw_only=True, eq=False)
class Page(RequestFault):
    """The request is answered by a page for people."""

    status: int = 200

    def reply(self, answered: bytes) -> HttpReply:
        return HttpReply(self.status, PAGE, "text/html")


@dataclass(slots=True, kw_only=True, eq=False)
class Truncated(RequestFault):
    """The body ends in the middle, though its length says that it is whole."""

    forwards: bool = True

    def reply(self, answered: bytes) -> HttpReply:
        return HttpReply(200, answered[: len(answered) // 2])


@dataclass(slots=True, kw_only=True, eq=False)
class BatchRefusal(RequestFault):
    """Batches of more than `max_calls` are refused.

    With a `code`, one error object stands for the whole batch. Without, the body is the message.
    """

    status: int = 200
    code: int | None = None
    message: str = "batch requests are not allowed"
    max_calls: int = 0

    def concerns(self, calls: Sequence[Call], *, batch: bool) -> bool:
        return batch and len(calls) > self.max_calls

    def reply(self, answered: bytes) -> HttpReply:
        if self.code is None:
            return HttpReply(self.status, self.message.encode(), "text/plain")
        error = {"code": self.code, "message": self.message}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error})
        return HttpReply(self.status, body.encode())


@dataclass(slots=True, kw_only=True, eq=False)
class Slow(Fault):
    """The request is forwarded after `seconds`."""

    seconds: float = field(default=0.5)


BATCH_REFUSALS: tuple[dict[str, Any], ...] = (
    {"status": 403, "message": "Batch requests are not available on the free tier"},
    {"status": 400, "message": "Batch requests are not supported"},
    {"status": 413, "message": "Request entity too large"},
    {"status": 429, "message": "Batch size limit"},
    {"status": 500, "message": "Internal Server Error"},
    {"code": -32403, "message": "Batch requests are not available on your plan"},
    {"code": -32600, "message": "Batch requests are not allowed"},
    {"code": -32600, "message": "Invalid Request"},
    {"code": 7701, "message": "Batch requests are limited to 0 on this plan"},
    {"status": 403, "code": -32600, "message": "batch requests are not allowed"},
)
"""Ways in which providers refuse batches, as fields of BatchRefusal."""
