"""Spans of the events that were indexed, for those transactions that a trace led to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from cvms.errors import DatabaseUnavailable
from cvms.nursery.ledger.entries import RecordedEvent
from cvms.store.postgres.database import Database
from cvms.store.submissions import submissions
from cvms.traces.spans import Traces
from cvms.traces.submission_spans import events_span


async def record_event_spans(
    traces: Traces,
    database: Database,
    recorded: Mapping[str, Sequence[RecordedEvent]],
    *,
    started: float,
) -> None:
    """Record the spans of events, by signature, that were applied since `started` (Unix time)."""
    if not traces.enabled or not recorded:
        return
    origins: dict[str, str] = {}
    # A trace is not worth an outage: the batch is applied, and the next step must follow.
    with suppress(DatabaseUnavailable):
        async with database.connection() as conn:
            origins = await submissions.traceparents(conn, list(recorded))
    for signature, traceparent in origins.items():
        events = recorded[signature]
        span = events_span(
            traceparent,
            signature,
            names=[type(each.event).__name__ for each in events],
            slot=events[0].row.slot,
            started=started,
        )
        if span is not None:
            traces.record(span)
