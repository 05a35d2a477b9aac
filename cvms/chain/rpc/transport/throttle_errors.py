"""What endpoints say when they are asked too much, in the ways that providers have of saying it.

JSON-RPC has no code for it. -32429 and 429 are used for nothing else; the others also mean other
things (-32005 is a node that is behind, -32007 a slot that was skipped), so the words decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cvms.errors import RpcError

INVALID_REQUEST = -32600

_ALWAYS = frozenset({429, -32429})
_BY_THEIR_WORDS = frozenset({-32000, -32005, -32007, -32029, -32097, -32603, INVALID_REQUEST})
_WORDS = re.compile(
    r"rate.?limit|too many requests|requests? limit|request rate|limit exceeded"
    r"|(http|error|status|code)\W{1,3}429\b",
    re.IGNORECASE,
)
_SECONDS = re.compile(r"\d{1,9}(\.\d{1,9})?")


def is_throttled(answer: Any | RpcError) -> bool:
    """Whether a node's answer says no more than that it was asked too much."""
    if not isinstance(answer, RpcError):
        return False
    if answer.code in _ALWAYS:
        return True
    return answer.code in _BY_THEIR_WORDS and _WORDS.search(answer.message) is not None


def is_batch_refused(answer: Any | RpcError) -> bool:
    """Whether a node's answer to a batch says that it takes none, or none so large."""
    if not isinstance(answer, RpcError) or answer.code != INVALID_REQUEST:
        return False
    return "batch" in answer.message.lower()


def retry_after(value: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> float:
    """Seconds that a Retry-After header asks for, given in seconds or as a date; 0 for neither."""
    if _SECONDS.fullmatch(value) and value.isascii():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return 0.0
    if date.tzinfo is None:  # "-0000": a time in UTC whose zone is not known
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - now()).total_seconds())
