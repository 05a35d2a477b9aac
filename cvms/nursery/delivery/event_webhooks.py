"""Event webhooks: a sender for each active endpoint of integrators. None delays another."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.delivery.endpoint_sender import EndpointSender
from cvms.nursery.delivery.send_pace import SendPace
from cvms.store.messaging.webhooks import endpoints
from cvms.store.postgres.database import Database
from cvms.store.security.encryption import SecretBox
from cvms.traces.spans import NO_TRACES, Traces

SYNC_SECONDS = 1.0
"""Within which a new endpoint gets its sender, and a deactivated one loses it."""
TIMEOUT_SECONDS = 10.0
QUERIES_AT_ONCE = 2
"""Connections to the database that all senders use together, of the eight that a process has."""
STATES = ("active", "failing", "paused", "deactivated")


@dataclass(slots=True, kw_only=True, eq=False)
class EventWebhooks:
    """Runs the senders. Only one process may, or endpoints receive more than once what they do."""

    database: Database
    secret_box: SecretBox
    hub: Hub
    private: bool
    context: ssl.SSLContext
    board: StatusBoard
    metrics: Metrics
    timeout: float = TIMEOUT_SECONDS
    wall_clock: Callable[[], float] = time.time
    traces: Traces = NO_TRACES
    queries: trio.CapacityLimiter = field(
        default_factory=lambda: trio.CapacityLimiter(QUERIES_AT_ONCE)
    )
    pace: SendPace = field(default_factory=SendPace)
    _senders: dict[str, trio.CancelScope] = field(default_factory=dict, init=False)

    async def run(self) -> None:
        """Run until cancelled. Raises DatabaseUnavailable."""
        self._senders.clear()
        async with trio.open_nursery() as tasks:
            while True:
                await self._sync(tasks)
                self.board.task_succeeded("event_webhooks")
                await trio.sleep(SYNC_SECONDS)

    async def _sync(self, tasks: trio.Nursery) -> None:
        async with self.queries, self.database.connection() as conn:
            active = await endpoints.active(conn)
            counts = await endpoints.count_by_state(conn)
        for state in STATES:
            self.metrics.webhooks.endpoints.labels(state=state).set(counts.get(state, 0))
        for endpoint in self._senders.keys() - active:
            self._senders[endpoint].cancel()
        for endpoint in active - self._senders.keys():
            self._senders[endpoint] = scope = trio.CancelScope()
            tasks.start_soon(self._run_sender, endpoint, scope)

    async def _run_sender(self, endpoint: str, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await self.sender(endpoint).run()
        finally:
            del self._senders[endpoint]

    def sender(self, endpoint: str) -> EndpointSender:
        """Build the sender of an endpoint."""
        return EndpointSender(
            endpoint=endpoint,
            database=self.database,
            secret_box=self.secret_box,
            hub=self.hub,
            metrics=self.metrics,
            private=self.private,
            context=self.context,
            timeout=self.timeout,
            queries=self.queries,
            pace=self.pace,
            wall_clock=self.wall_clock,
            traces=self.traces,
        )
