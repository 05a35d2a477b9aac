"""Tracebacks, each distinct fault's once in a while.

A task that fails in a loop, or a request that every client repeats, has the same traceback each
time. Two faults are the same if the exceptions are of the same types and come from the same places.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from traceback import walk_tb
from types import TracebackType
from typing import Any

from cvms.errors import leaves
from cvms.log.sampling import Sampler

FAULT_SECONDS = 600.0
"""Between two tracebacks of the same fault."""
MAX_TEXT = 500


def _once_in_a_while() -> Sampler:
    return Sampler(first=1, seconds=FAULT_SECONDS)


@dataclass(slots=True, eq=False)
class RepeatedFaults:
    """A processor of structlog that replaces a traceback which was logged before by a count."""

    sampler: Sampler = field(default_factory=_once_in_a_while)

    def __call__(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Add `fault`; if it is a known one, remove the traceback and add `repeats` and `error`."""
        error = _error_of(event.get("exc_info"))
        if error is None:
            return event
        event["fault"] = fault = fault_of(error)
        before = self.sampler.admit(fault)
        if before is None:
            del event["exc_info"]
            event["repeats"] = self.sampler.left_out(fault)
            event.setdefault("error", _text(error))
        elif before:
            event["repeats"] = before
        return event


def fault_of(error: BaseException) -> str:
    """Return the types of an error, or of a group's members, each with its place in the code."""
    return ", ".join(sorted({f"{type(leaf).__name__} at {_place(leaf)}" for leaf in leaves(error)}))


def _place(error: BaseException) -> str:
    """Return the innermost line of the service's own code, or of any code if there is none."""
    places = [_shown(frame.f_code.co_filename, line) for frame, line in _frames(error)]
    own = [place for place in places if place.startswith("cvms/")]
    return (own or places or ["no line"])[-1]


def _frames(error: BaseException) -> Any:
    traceback: TracebackType | None = error.__traceback__
    return walk_tb(traceback)


def _shown(file: str, line: int) -> str:
    _, package, inside = file.rpartition("/cvms/")
    return f"{package.lstrip('/')}{inside}:{line}"


def _error_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exception() if exc_info else None


def _text(error: BaseException) -> str:
    return "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(error))[:MAX_TEXT]
