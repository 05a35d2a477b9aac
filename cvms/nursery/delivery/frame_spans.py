"""Spans of the WebSocket frames about transactions that a trace led to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from cvms.errors import DatabaseUnavailable
from cvms.nursery.channels.hub import Hub
from cvms.store.messaging.outbox import OutboxRow
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.database import Database
from cvms.store.submissions import submissions
from cvms.traces.spans import Traces
from cvms.traces.submission_spans import frame_span


@dataclass(frozen=True, slots=True)
class _Published:
    row: OutboxRow
    clients: int
    at: float


@dataclass(slots=True, kw_only=True, eq=False)
class FrameSpans:
    """Notes which messages are published to clients, and records their spans after a page."""

    traces: Traces
    database: Database
    hub: Hub
    _published: list[_Published] = field(default_factory=list, init=False)

    def note(self, rows: Sequence[OutboxRow]) -> None:
        """Note the rows about transactions that are about to be published to somebody."""
        if not self.traces.enabled:
            return
        for row in rows:
            clients = self.hub.count_receivers(row) if row.signature is not None else 0
            if clients:
                self._published.append(_Published(row, clients, time.time()))

    async def record(self) -> None:
        """Record the spans of what was noted."""
        published, self._published = self._published, []
        if not published:
            return
        origins: dict[str, str] = {}
        with suppress(DatabaseUnavailable):
            async with self.database.connection() as conn:
                signatures = {each.row.signature or "" for each in published}
                origins = await submissions.traceparents(conn, sorted(signatures))
        for each in published:
            signature = each.row.signature or ""
            if signature in origins:
                span = frame_span(
                    origins[signature],
                    signature,
                    topic=each.row.topic,
                    of_events=each.row.topic != Topic.TRANSACTION,
                    clients=each.clients,
                    started=each.row.created_at.timestamp(),
                    ended=each.at,
                )
                if span is not None:
                    self.traces.record(span)
