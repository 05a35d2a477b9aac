"""Metrics of the messages to clients: the outbox, WebSockets and webhooks."""

from __future__ import annotations

from cvms.metrics.series import Series
from cvms.metrics.snapshot import Across


class OutboxMetrics:
    """The messages between what is committed and the subscribers of a process."""

    def __init__(self, series: Series) -> None:
        self.lag_seconds = series.gauge(
            "outbox_lag_seconds", "Age of the oldest message that is read but not handed out yet"
        )
        self.published = series.counter(
            "outbox_published_total",
            "Messages that a process has handed out to its WebSockets; each process does so",
        )


class WebSocketMetrics:
    """The WebSockets of a process."""

    def __init__(self, series: Series) -> None:
        self.clients = series.gauge("websocket_clients", "Open WebSocket connections", Across.SUM)
        self.frames = series.counter(
            "websocket_frames_total",
            "Frames with events for a client, by topic; account: of an account that it watches",
            topic=(),
        )
        self.closed = series.counter(
            "websocket_closed_total",
            "WebSockets that ended, by reason; client: it left by itself",
            reason=(),
        )


class WebhookMetrics:
    """The webhooks of integrators."""

    def __init__(self, series: Series) -> None:
        self.endpoints = series.gauge(
            "webhook_endpoints",
            "Endpoints of integrators by state; `failing` are active ones that accept nothing",
            state=(),
        )
        self.messages = series.counter(
            "webhook_messages_total",
            "Attempts to send an event to an endpoint, by outcome",
            outcome=("delivered", "failed", "given_up"),
        )
        self.delay_seconds = series.histogram(
            "webhook_delay_seconds",
            "Time from the commit of an event until an endpoint has accepted it",
            (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0, 3600.0, 86400.0),
        )
