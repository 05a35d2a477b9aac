"""The spans that follow the request of a submission.

Each process finds the same ids from the submission's `traceparent`, so that the spans of a leader
that sends, of another that indexes and of the replicas that serve WebSockets belong together:

    request → transaction (sent, until it is in a block) → events (indexed) → frame, webhook
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cvms.traces.spans import Span, Traces
from cvms.traces.trace_context import TraceContext, parse_traceparent


def transaction_span(
    traceparent: str | None, signature: str, *, kind: str, state: str, slot: int | None, age: float
) -> Span | None:
    """Return the span of a transaction that was signed `age` seconds ago; None without a trace."""
    request = _parsed(traceparent)
    if request is None:
        return None
    now = time.time()
    attributes = {"cvms.signature": signature, "cvms.kind": kind, "cvms.state": state}
    return Span(
        name="transaction",
        context=_transaction(request, signature),
        parent=request,
        kind="client",
        started=now - age,
        ended=now,
        failed=state in {"failed", "expired", "quarantined"},
        attributes=attributes if slot is None else {**attributes, "cvms.slot": slot},
    )


def events_span(
    traceparent: str, signature: str, *, names: Sequence[str], slot: int, started: float
) -> Span | None:
    """Return the span in which the events of a transaction were indexed; it ends now."""
    request = _parsed(traceparent)
    if request is None:
        return None
    return Span(
        name="index_events",
        context=_events(request, signature),
        parent=_transaction(request, signature),
        started=started,
        ended=time.time(),
        attributes={
            "cvms.signature": signature,
            "cvms.events": ", ".join(names),
            "cvms.slot": slot,
        },
    )


def frame_span(
    traceparent: str,
    signature: str,
    *,
    topic: str,
    of_events: bool,
    clients: int,
    started: float,
    ended: float,
) -> Span | None:
    """Return the span from the commit of a message to its frame, given to so many clients."""
    parent = message_parent(traceparent, signature, of_events=of_events)
    if parent is None:
        return None
    return Span(
        name="websocket_frame",
        context=parent.child(),
        parent=parent,
        kind="producer",
        started=min(started, ended),
        ended=ended,
        attributes={"cvms.signature": signature, "cvms.topic": topic, "cvms.clients": clients},
    )


@contextmanager
def webhook_span(traces: Traces, parent: TraceContext, *, endpoint: str) -> Iterator[str]:
    """Record the block, in which a message is posted, and give its `traceparent`."""
    context, started, failed = parent.child(), time.time(), True
    try:
        yield context.traceparent
        failed = False
    finally:
        traces.record(
            Span(
                name="webhook",
                context=context,
                parent=parent,
                kind="client",
                started=started,
                ended=time.time(),
                failed=failed,
                attributes={"cvms.endpoint": endpoint},
            )
        )


def message_parent(
    traceparent: str | None, signature: str, *, of_events: bool
) -> TraceContext | None:
    """Return the span that a message about a transaction, or about its events, comes from."""
    request = _parsed(traceparent)
    if request is None:
        return None
    return _events(request, signature) if of_events else _transaction(request, signature)


def _parsed(traceparent: str | None) -> TraceContext | None:
    return None if traceparent is None else parse_traceparent([traceparent])


def _transaction(request: TraceContext, signature: str) -> TraceContext:
    return request.derived(f"transaction {signature}")


def _events(request: TraceContext, signature: str) -> TraceContext:
    return request.derived(f"events {signature}")
