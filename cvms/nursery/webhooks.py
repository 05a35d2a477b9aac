"""Tell signers through their webhooks, at least once, for as long as it makes sense.

Messages are signed as in the Standard Webhooks specification
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
HMAC-SHA-256 of `id.timestamp.body`. The id stays the same when a message is sent again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import ssl
import time
from collections.abc import Callable
from datetime import timedelta

import structlog
import trio

from cvms.errors import SealingDisabled, Unsealable
from cvms.nursery.channels import Board
from cvms.nursery.webhook_post import NotDelivered, post
from cvms.store import contacts, deliveries
from cvms.store.database import Database
from cvms.store.deliveries import Delivery
from cvms.store.sealed import Sealer

log = structlog.get_logger(__name__)

EVERY_SECONDS = 2.0
AT_ONCE = 16
TIMEOUT = 10.0
LEASE = timedelta(seconds=60)
"""Longer than a try takes: until then nobody else sends the same."""
FIRST_DELAY = 5.0
LONGEST_DELAY = 3600.0
MOST_TRIES = 12
MOST_AGE = timedelta(days=1)


class Webhooks:
    """Delivers what `webhook_deliveries` holds. Two replicas share the work."""

    def __init__(
        self,
        *,
        database: Database,
        sealer: Sealer,
        private: bool,
        board: Board,
        context: ssl.SSLContext,
        timeout: float = TIMEOUT,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._private = private
        self._board = board
        self._context = context
        self._timeout = timeout
        self._wall_clock = wall_clock

    async def run(self) -> None:
        """Deliver what is due, now and then, until cancelled."""
        while True:
            taken = await self.round()
            self._board.task_succeeded("webhooks")
            if taken < AT_ONCE:
                await trio.sleep(EVERY_SECONDS)

    async def round(self) -> int:
        """Try some of what is due, each once; returns how many."""
        async with self._database.connection() as conn:
            due = await deliveries.take(conn, limit=AT_ONCE, lease=LEASE)
        async with trio.open_nursery() as nursery:
            for each in due:
                nursery.start_soon(self._deliver, each)
        return len(due)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            await self._post(delivery)
        except (NotDelivered, Unsealable, SealingDisabled) as error:
            await self._failed(delivery, str(error))
            return
        async with self._database.connection() as conn:
            await deliveries.delivered(conn, delivery.id)

    async def _post(self, delivery: Delivery) -> None:
        secret = self._sealer.open(delivery.secret, about=contacts.about(delivery.signer))
        body = delivery.body.encode()
        timestamp = str(int(self._wall_clock()))
        signed = f"{delivery.id}.{timestamp}.".encode() + body
        digest = hmac.new(secret, signed, hashlib.sha256).digest()
        headers = {
            "webhook-id": str(delivery.id),
            "webhook-timestamp": timestamp,
            "webhook-signature": "v1," + base64.b64encode(digest).decode(),
        }
        await post(
            delivery.url,
            headers,
            body,
            private=self._private,
            timeout=self._timeout,
            context=self._context,
        )

    async def _failed(self, delivery: Delivery, reason: str) -> None:
        log.warning(
            "webhook_not_delivered",
            delivery=str(delivery.id),
            signer=delivery.signer,
            tries=delivery.tries,
            reason=reason,
        )
        async with self._database.connection() as conn:
            if delivery.tries >= MOST_TRIES or delivery.age >= MOST_AGE:
                await deliveries.give_up(conn, delivery.id, error=reason)
            else:
                delay = timedelta(seconds=delay_after(delivery.tries))
                await deliveries.try_again(conn, delivery.id, delay=delay, error=reason)


def delay_after(tries: int) -> float:
    """Seconds until the next try: doubling to the longest, and jittered down to its half."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (tries - 1))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
