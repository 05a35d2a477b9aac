"""Classification of JSON-RPC errors: whether another endpoint could do better, and whose fault.

JSON-RPC has no code for a rate limit, a refused batch or a gateway's failure. Providers use codes
that also have other meanings, so the message decides where it has to.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Any

from cvms.chain.rpc.error_codes import (
    ABOUT_THE_QUESTION,
    BATCH_REFUSED,
    BEHIND,
    INTERNAL_ERROR,
    MAYBE_RATE_LIMITED,
    MIN_CONTEXT_SLOT_NOT_REACHED,
    NOT_KEPT,
    RATE_LIMITED,
)
from cvms.errors import RpcError


class ErrorKind(Enum):
    """Kinds of errors, by what they say about the endpoint that returned them."""

    ANSWER = "answer"
    """Nothing: the question is refused, and every node would refuse it."""
    NOT_KEPT = "not kept"
    """It does not have what was asked for. Another one may."""
    BEHIND = "behind"
    """It has not reached the slot that another one has."""
    THROTTLED = "throttled"
    FAULT = "fault"
    """It does not serve the method, or cannot at present."""


_PER_TIME = r"(per|/) ?(s|sec|second|min|minute|hour|day|month)\b"
_ALLOWANCE = r"\b(rps|cps|qps|requests|rate|quota|credits?|throughput)\b"
"""Units that a plan limits. A "request" or a "capacity" may also be that of one call."""
_THROTTLE_WORDS = re.compile(
    r"rate.?limit|too many requests|requests? limit|request rate|limit exceeded"
    rf"|{_ALLOWANCE}.{{0,30}}\b(limit|exceeded)|exceed\w*\b.{{0,30}}{_ALLOWANCE}"
    rf"|exceed\w*\b.{{0,30}}{_PER_TIME}|{_PER_TIME}.{{0,30}}\b(limit|exceeded)"
    r"|capacity exceeded|exceeded\b.{0,30}\bcapacity\b(?! of\b)"
    r"|(http|error|status|code)\W{1,3}429\b",
    re.IGNORECASE,
)
_BEHIND_WORDS = re.compile(r"min(imum)?\s?context\s?slot", re.IGNORECASE)


def normalized(error: RpcError) -> RpcError:
    """Return the error with the node's own code where a gateway has put a general one."""
    if error.code == INTERNAL_ERROR and _BEHIND_WORDS.search(error.message):
        return RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, error.message, error.data)
    return error


def kind_of(error: RpcError) -> ErrorKind:
    """Return the kind of a normalized error. An unknown code is a fault."""
    if is_throttled(error):
        return ErrorKind.THROTTLED
    if error.code in BEHIND:
        return ErrorKind.BEHIND
    if error.code in NOT_KEPT:
        return ErrorKind.NOT_KEPT
    if error.code in ABOUT_THE_QUESTION:
        return ErrorKind.ANSWER
    return ErrorKind.FAULT


def is_throttled(answer: Any | RpcError) -> bool:
    """Return whether a node's response is an error that says that it throttles."""
    if not isinstance(answer, RpcError):
        return False
    if answer.code in RATE_LIMITED:
        return True
    return answer.code in MAYBE_RATE_LIMITED and _THROTTLE_WORDS.search(answer.message) is not None


def is_batch_refused(answer: Any | RpcError) -> bool:
    """Return whether a node's response says that it takes no batch, or none so large."""
    if not isinstance(answer, RpcError) or answer.code in ABOUT_THE_QUESTION:
        return False
    return answer.code in BATCH_REFUSED or "batch" in answer.message.lower()
