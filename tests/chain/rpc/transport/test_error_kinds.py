"""Errors that mean throttling, and similar ones that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cvms.chain.rpc.transport.error_kinds import (
    ErrorKind,
    is_batch_refused,
    is_throttled,
    kind_of,
    normalized,
)
from cvms.chain.rpc.transport.http_post import retry_after
from cvms.errors import RpcError

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (429, "no"),
        (-32429, "rate limited"),
        (-32005, "Rate limit exceeded"),
        (-32005, "daily request limit exceeded"),
        (-32007, "50/second request limit reached - reduce calls per second"),
        (-32603, "Error 429: Too Many Requests"),
        (-32603, "upstream: HTTP 429"),
        (-32000, "status code: 429"),
        (-32029, "Too many requests, slow down"),
        (-32005, "You have exceeded the RPS limit of your plan"),
        (-32000, "capacity exceeded"),
        (-32000, "Your app has exceeded its compute units per second capacity"),
        (-32000, "exceeded 25 request/second"),
        (-32005, "monthly quota exceeded"),
        (-32005, "calls per minute: limit reached"),
        (-32603, "the number of requests exceeded the limit"),
        (-32090, "no"),
        (7429, "no"),
    ],
)
def test_throttling_is_recognized(code: int, message: str) -> None:
    assert is_throttled(RpcError(code, message))


@pytest.mark.parametrize(
    "answer",
    [
        RpcError(-32005, "Node is behind by 42 slots"),
        RpcError(-32007, "Slot 429000 was skipped, or missing due to ledger jump"),
        RpcError(-32007, "Slot 429 was skipped"),
        RpcError(-32600, "Too many accounts in request, exceeded maximum of 100 per request"),
        RpcError(-32603, "Requested resource exceeds capacity of 10MB response"),
        RpcError(-32600, "Request size exceeds the limit of 50000 bytes"),
        RpcError(-32002, "Transaction simulation failed: rate limit of the program"),
        RpcError(-32016, "Minimum context slot has not been reached"),
        {"value": "rate limit"},
        None,
    ],
)
def test_other_errors_are_not_throttling(answer: Any) -> None:
    assert not is_throttled(answer)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0.5", 0.5),
        ("Wed, 25 Nov 2026 12:00:30 GMT", 30),
        ("Wed, 25 Nov 2026 12:00:30 -0000", 30),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0),
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("٣", 0),
        ("9" * 400, 0),
        ("Wed, 99 Nov 99999 12:00:30 GMT", 0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(value: str, seconds: float) -> None:
    assert retry_after(value, now=lambda: NOW) == seconds


def test_a_refusal_of_batches_is_recognized() -> None:
    assert is_batch_refused(RpcError(-32600, "Batch size exceeds the maximum of 10"))
    assert is_batch_refused(RpcError(-32403, "Forbidden"))
    assert is_batch_refused(RpcError(7701, "no"))
    assert is_batch_refused(RpcError(-32000, "batch requests are not enabled for this key"))
    assert not is_batch_refused(RpcError(-32600, "Invalid request"))
    assert not is_batch_refused(RpcError(-32602, "batch"))


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        (-32602, "Invalid params", ErrorKind.ANSWER),
        (-32002, "Transaction simulation failed: rate limit", ErrorKind.ANSWER),
        (-32015, "Transaction version (1) is not supported", ErrorKind.ANSWER),
        (-32007, "Slot 9 was skipped, or missing due to ledger jump", ErrorKind.NOT_KEPT),
        (-32011, "Transaction history is not available from this node", ErrorKind.NOT_KEPT),
        (-32020, "Transaction abc not found", ErrorKind.NOT_KEPT),
        (-32016, "Minimum context slot has not been reached", ErrorKind.BEHIND),
        (-32603, "Internal error: Minimum context slot has not been reached", ErrorKind.BEHIND),
        (-32005, "Node is behind by 42 slots", ErrorKind.BEHIND),
        (-32005, "exceeded the RPS limit", ErrorKind.THROTTLED),
        (-32603, "Internal error", ErrorKind.FAULT),
        (-32601, "Method not found", ErrorKind.FAULT),
        (-32010, "excluded from account secondary indexes", ErrorKind.FAULT),
        (-32012, "Scan aborted", ErrorKind.FAULT),
        (-32019, "Failed to query long-term storage", ErrorKind.FAULT),
        (-32000, "upstream unavailable", ErrorKind.FAULT),
        (12345, "a code that nobody knows", ErrorKind.FAULT),
    ],
)
def test_an_error_says_whether_another_endpoint_could_do_better(
    code: int, message: str, kind: ErrorKind
) -> None:
    assert kind_of(normalized(RpcError(code, message))) is kind
