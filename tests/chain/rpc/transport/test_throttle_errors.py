"""Errors that mean throttling, and similar ones that do not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cvms.chain.rpc.transport.throttle_errors import is_batch_refused, is_throttled, retry_after
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
    assert not is_batch_refused(RpcError(-32600, "Invalid request"))
    assert not is_batch_refused(RpcError(-32602, "batch"))
