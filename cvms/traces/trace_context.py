"""The place of a span in a trace, as the header `traceparent` names it (W3C Trace Context)."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

# Later versions may append fields. Version ff, and ids of zeros, are not valid (W3C, 2.2).
_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})(?P<span>[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?",
    re.ASCII,
)
MAX_LENGTH = 256
_SAMPLED = 1


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A span by its ids, in hexadecimal. `sampled` says that the caller records it."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @property
    def traceparent(self) -> str:
        """The header for a request that the span makes."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    def child(self) -> TraceContext:
        """Return a new span of the trace."""
        return TraceContext(self.trace_id, secrets.token_hex(8), self.sampled)

    def derived(self, name: str) -> TraceContext:
        """Return the span of the trace that has this name, the same in each process."""
        digest = hashlib.sha256(f"{self.traceparent} {name}".encode()).hexdigest()
        return TraceContext(self.trace_id, digest[:16], self.sampled)


def new_trace() -> TraceContext:
    """Return the first span of a new trace."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8))


def parse_traceparent(given: Sequence[str]) -> TraceContext | None:
    """Return the span that the values of the header name; None unless there is one valid value."""
    if len(given) != 1 or len(given[0]) > MAX_LENGTH:
        return None
    found = _TRACEPARENT.fullmatch(given[0].strip())
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    sampled = bool(int(found["flags"], 16) & _SAMPLED)
    return TraceContext(found["trace"], found["span"], sampled)


@dataclass(slots=True, eq=False)
class RequestTrace:
    """The span of a request, and its parent if it has one."""

    context: TraceContext
    parent: TraceContext | None = None

    def join(self, traceparent: str | None) -> None:
        """Become a part of this trace, unless the request came with a parent."""
        joined = None if traceparent is None else parse_traceparent([traceparent])
        if joined is not None and self.parent is None:
            self.context, self.parent = joined.child(), joined
