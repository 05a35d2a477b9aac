"""Calls, and their state while endpoints are tried in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from cvms.chain.rpc.transport.endpoint_pool import Endpoint
from cvms.chain.rpc.transport.error_kinds import ErrorKind, kind_of
from cvms.chain.rpc.transport.request_sender import Answers, AttemptFailed, Throttled
from cvms.errors import ChainUnavailable, RpcError

MAX_TRIES = 3  # endpoints that one call tries; each has its share of the timeout


def unchecked(answer: Any) -> Any:
    """Return the result as it is."""
    return answer


class Call(NamedTuple):
    """One call. `parse` returns the typed result, or raises RpcError for another shape.

    `may_lack`: a null or an empty list says only that this endpoint has nothing, so others are
    asked for it too. `raw`: `parse` takes the JSON text of the result, which is not decoded before.
    """

    method: str
    params: Sequence[Any]
    parse: Callable[[Any], Any] = unchecked
    may_lack: bool = False
    raw: bool = False

    def worth(self, answer: Any | RpcError) -> int:
        """Return how much a response is worth among those of several endpoints."""
        if not isinstance(answer, RpcError):
            return LACKS if self.may_lack and answer in (None, []) else FINAL
        return _WORTH[kind_of(answer)]


FINAL, LACKS, ELSEWHERE, NOTHING = 3, 2, 1, 0
_WORTH = {
    ErrorKind.ANSWER: FINAL,
    ErrorKind.NOT_KEPT: ELSEWHERE,
    ErrorKind.BEHIND: ELSEWHERE,
    ErrorKind.THROTTLED: NOTHING,
    ErrorKind.FAULT: NOTHING,
}


class FailoverState:
    """State of some calls: the endpoints that need not be tried again, and the outcome so far."""

    def __init__(self, calls: Sequence[Call], *, repeatable: bool) -> None:
        self._calls = calls
        self._repeatable = repeatable
        self._answers: dict[int, Any | RpcError] = {}
        self._failure: AttemptFailed | None = None
        self._done = False
        self.unresolved = list(range(len(calls)))
        self.tried: list[Endpoint] = []

    @property
    def over(self) -> bool:
        return self._done or not self.unresolved or len(self.tried) >= MAX_TRIES

    def answered(self, endpoint: Endpoint, answers: Answers) -> None:
        """Record responses to the unresolved calls. The first of the greatest worth counts."""
        for place, answer in zip(self.unresolved, answers, strict=True):
            call, before = self._calls[place], self._answers.get(place)
            if place not in self._answers or call.worth(answer) > call.worth(before):
                self._answers[place] = answer
        self.unresolved = [
            place
            for place in self.unresolved
            if self._calls[place].worth(self._answers[place]) < FINAL
        ]
        self._done = not self._repeatable
        self.tried.append(endpoint)

    def failed(self, endpoint: Endpoint, failure: AttemptFailed, *, last: bool) -> None:
        """Record a failure. `last` says that there is no other endpoint to try."""
        may_retry = last and failure.broken and self._failure is None
        self._failure = failure
        if isinstance(failure, Throttled):
            self._done = failure.hopeless  # the endpoint's rate limiter delays the next try
            return
        self._done = not (self._repeatable or failure.unsent)
        if not may_retry:
            self.tried.append(endpoint)

    def outcome(self, *, none: Callable[[], ChainUnavailable]) -> Answers:
        """Return the responses, or raise the last failure; `none()` when nothing was tried."""
        if self._answers:
            return [self._answers[place] for place in range(len(self._calls))]
        if self._failure is not None:
            raise self._failure.outcome from self._failure.__cause__
        raise none()
