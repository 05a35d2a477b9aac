"""Notifications that the outbox has grown: PostgreSQL's NOTIFY, and Redis if configured.

A notification is only a hint. Messages are read from the outbox itself, so a lost notification
costs time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog
import trio

from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.postgres.listen import listen
from cvms.store.redis.calls import Reply
from cvms.store.redis.connection import RedisAway
from cvms.store.redis.redis_client import RedisClient

CHANNEL = "cvms:outbox"
RETRY_SECONDS = 5.0  # before Redis is subscribed to again

log = structlog.get_logger(__name__)


class OutboxNotifier(Protocol):
    """Notifies every replica of new messages in the outbox."""

    async def notify(self) -> None:
        """Notify all replicas; call it after the commit. Raises nothing."""

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` for each notification until cancelled. Raises DatabaseUnavailable."""


class PostgresOutboxNotifier:
    """Uses NOTIFY, which `outbox.append` sends with every commit."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notify(self) -> None:
        """Do nothing: the commit has sent the notification."""

    async def listen(self, wake: Callable[[], None]) -> None:
        async with listen(self._database, outbox.CHANNEL) as listener:
            while True:
                wake()  # the first time for messages committed before LISTEN
                await listener.receive()


class RedisOutboxNotifier:
    """Uses publish and subscribe of Redis besides NOTIFY.

    A replica may reach Redis while the one that has news does not, or while Redis refuses what that
    one sends. So none relies on Redis alone.
    """

    def __init__(self, client: RedisClient, database: Database) -> None:
        self._client = client
        self._postgres = PostgresOutboxNotifier(database)

    async def notify(self) -> None:
        try:
            await self._client.ask(_are_counted, ("PUBLISH", CHANNEL, "grown"))
        except RedisAway:
            log.debug("outbox_notification_not_published")

    async def listen(self, wake: Callable[[], None]) -> None:
        async with trio.open_nursery() as both:
            both.start_soon(self._postgres.listen, wake)
            while True:
                try:
                    await self._client.listen(CHANNEL, wake)
                except RedisAway as lost:
                    log.warning("outbox_subscription_lost", error=type(lost.__cause__).__name__)
                await trio.sleep(RETRY_SECONDS)


def outbox_notifier(client: RedisClient | None, database: Database) -> OutboxNotifier:
    """Return a notifier that uses this Redis, or PostgreSQL if there is none."""
    return (
        PostgresOutboxNotifier(database)
        if client is None
        else RedisOutboxNotifier(client, database)
    )


def _are_counted(replies: list[Reply]) -> None:
    if not all(isinstance(reply, int) for reply in replies):
        raise ValueError("PUBLISH was answered by something else")
