"""Spans, which are recorded once they have ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cvms.traces.trace_context import TraceContext

Kind = Literal["server", "client", "producer", "internal"]
Attribute = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """An operation that has ended. Its times are in Unix seconds."""

    name: str
    context: TraceContext
    parent: TraceContext | None = None
    kind: Kind = "internal"
    started: float
    ended: float
    failed: bool = False
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


class Traces:
    """Hands spans to `export`, which must not wait. Without it nothing is traced."""

    def __init__(self, export: Callable[[Span], None] | None = None) -> None:
        self._export = export

    @property
    def enabled(self) -> bool:
        """Whether spans are recorded: if not, nothing need be found out for them."""
        return self._export is not None

    def record(self, span: Span) -> None:
        """Record a span of a trace that is sampled."""
        if self._export is not None and span.context.sampled:
            self._export(span)


NO_TRACES = Traces()
