"""Recognition of throttling, which providers report in different ways.

JSON-RPC has no error code for it. Most codes in use also have another meaning, so the message
decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cvms.chain.rpc.error_codes import INVALID_REQUEST, MAYBE_RATE_LIMITED, RATE_LIMITED
from cvms.errors import RpcError

_WORDS = re.compile(
    r"rate.?limit|too many requests|requests? limit|request rate|limit exceeded"
    r"|(http|error|status|code)\W{1,3}429\b",
    re.IGNORECASE,
)
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")


def is_throttled(answer: Any | RpcError) -> bool:
    """Return whether a node's response is an error that says that it throttles."""
    if not isinstance(answer, RpcError):
        return False
    if answer.code in RATE_LIMITED:
        return True
    return answer.code in MAYBE_RATE_LIMITED and _WORDS.search(answer.message) is not None


def is_batch_refused(answer: Any | RpcError) -> bool:
    """Return whether a node's response says that it takes no batch, or none so large."""
    if not isinstance(answer, RpcError) or answer.code != INVALID_REQUEST:
        return False
    return "batch" in answer.message.lower()


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
