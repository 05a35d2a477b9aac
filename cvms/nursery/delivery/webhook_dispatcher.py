"""Webhook dispatcher: delivers single messages at least once, for up to a day.

The id of a message stays the same when it is sent again.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
import trio

from cvms.errors import DecryptionFailed, EncryptionDisabled
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.delivery.webhook_client import EndpointGone, NotDelivered, deliver
from cvms.nursery.delivery.webhook_signature import signed_headers
from cvms.store.messaging import webhook_deliveries
from cvms.store.messaging.webhook_deliveries import AlertDelivery, Delivery
from cvms.store.messaging.webhooks import endpoint_secrets, endpoints, single_deliveries
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import signer_webhooks
from cvms.store.security.encryption import SecretBox

log = structlog.get_logger(__name__)

POLL_SECONDS = 2.0
BATCH_SIZE = 16
TIMEOUT_SECONDS = 10.0
LEASE = timedelta(seconds=60)
"""Longer than one attempt takes. Until then no other dispatcher sends the same message."""
MIN_RETRY_SECONDS = 5.0
MAX_RETRY_SECONDS = 3600.0
MAX_TRIES = 12
MAX_AGE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class PendingDelivery:
    """A message taken from a queue.

    `secrets` returns the signing keys. It raises DecryptionFailed or EncryptionDisabled. `endpoint`
    is that of an integrator, which ends with a 410.
    """

    delivery: AlertDelivery
    recipient: str
    url: str
    secrets: Callable[[], Sequence[bytes]]
    endpoint: str | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class SignersQueue:
    """Messages for signers, each to the URL that the signer has set."""

    task = "webhooks"

    secret_box: SecretBox

    async def take(self, conn: Connection) -> list[PendingDelivery]:
        """Take some messages that are due. No other dispatcher gets them during the lease."""
        due = await webhook_deliveries.take(conn, limit=BATCH_SIZE, lease=LEASE)
        return [
            PendingDelivery(
                delivery,
                recipient=delivery.signer,
                url=delivery.url,
                secrets=partial(self._secrets, delivery),
            )
            for delivery in due
        ]

    def _secrets(self, delivery: Delivery) -> list[bytes]:
        about = signer_webhooks.about(delivery.signer)
        return [self.secret_box.open(delivery.secret, about=about)]


@dataclass(slots=True, kw_only=True, eq=False)
class AlertsQueue:
    """Messages for operators, to the configured URL.

    They stay queued while no URL is configured, and are given up when they are too old.
    """

    task = "alert_webhooks"

    url: str
    secret: bytes

    async def take(self, conn: Connection) -> list[PendingDelivery]:
        """Take messages as SignersQueue does."""
        due = await webhook_deliveries.take_alerts(conn, limit=BATCH_SIZE, lease=LEASE)
        return [
            PendingDelivery(
                delivery, recipient="operators", url=self.url, secrets=lambda: [self.secret]
            )
            for delivery in due
        ]


@dataclass(slots=True, kw_only=True, eq=False)
class EndpointsQueue:
    """Single messages for the endpoints of integrators, such as tests."""

    task = "endpoint_messages"

    secret_box: SecretBox

    async def take(self, conn: Connection) -> list[PendingDelivery]:
        """Take messages as SignersQueue does, at most one for each endpoint."""
        due = await single_deliveries.take(conn, limit=BATCH_SIZE, lease=LEASE)
        sealed = {each.id: await endpoint_secrets.valid(conn, each.endpoint) for each in due}
        return [
            PendingDelivery(
                delivery,
                recipient=delivery.endpoint,
                url=delivery.url,
                secrets=partial(endpoint_secrets.opened, sealed[delivery.id], self.secret_box),
                endpoint=delivery.endpoint,
            )
            for delivery in due
        ]


DeliveryQueue = SignersQueue | AlertsQueue | EndpointsQueue


@dataclass(slots=True, kw_only=True, eq=False)
class WebhookDispatcher:
    """Delivers the messages of one queue. Several dispatchers may share it."""

    database: Database
    queue: DeliveryQueue
    private: bool
    board: StatusBoard
    metrics: Metrics
    context: ssl.SSLContext
    timeout: float = TIMEOUT_SECONDS
    wall_clock: Callable[[], float] = time.time

    async def run(self) -> None:
        """Run until cancelled, once every POLL_SECONDS unless a full batch was due."""
        while True:
            with self.metrics.tasks.timed(self.queue.task):
                count = await self.run_once()
            self.board.task_succeeded(self.queue.task)
            if count < BATCH_SIZE:
                await trio.sleep(POLL_SECONDS)

    async def run_once(self) -> int:
        """Try to deliver a batch of messages, each once, and return their number."""
        async with self.database.connection() as conn:
            messages = await self.queue.take(conn)
        async with trio.open_nursery() as nursery:
            for message in messages:
                nursery.start_soon(self._deliver, message)
        return len(messages)

    async def _deliver(self, message: PendingDelivery) -> None:
        try:
            await self._post(message)
        except (NotDelivered, DecryptionFailed, EncryptionDisabled) as error:
            gone = message.endpoint if isinstance(error, EndpointGone) else None
            await self._record_failure(message, str(error), gone=gone)
            return
        async with self.database.connection() as conn:
            await webhook_deliveries.delivered(conn, message.delivery.id)

    async def _post(self, message: PendingDelivery) -> None:
        body = message.delivery.body.encode()
        headers = signed_headers(
            str(message.delivery.id), body, message.secrets(), now=self.wall_clock()
        )
        await deliver(
            message.url,
            headers,
            body,
            private=self.private,
            timeout=self.timeout,
            context=self.context,
        )

    async def _record_failure(
        self, message: PendingDelivery, reason: str, *, gone: str | None
    ) -> None:
        delivery = message.delivery
        log.warning(
            "webhook_delivery_failed",
            delivery=str(delivery.id),
            recipient=message.recipient,
            tries=delivery.tries,
            reason=reason,
        )
        async with self.database.connection() as conn:
            if gone is not None:
                await endpoints.set_state(conn, gone, "deactivated", endpoints.GONE)
            if gone is not None or delivery.tries >= MAX_TRIES or delivery.age >= MAX_AGE:
                await webhook_deliveries.give_up(conn, delivery, error=reason)
            else:
                delay = timedelta(seconds=retry_delay(delivery.tries))
                await webhook_deliveries.try_again(conn, delivery, delay=delay, error=reason)


def retry_delay(tries: int) -> float:
    """Return the seconds until the next attempt: doubling up to a maximum, with 50 % jitter."""
    seconds = min(MAX_RETRY_SECONDS, MIN_RETRY_SECONDS * 2.0 ** (tries - 1))
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
