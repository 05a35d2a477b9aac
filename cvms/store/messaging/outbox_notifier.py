"""How replicas hear that the outbox has grown: PostgreSQL's NOTIFY, or Redis where there is one.

A ring is only a reason to look: what is told is read from the outbox, so a ring that is lost costs
time and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog
import trio
from coredis.exceptions import RedisError

from cvms.store.messaging import outbox
from cvms.store.postgres.database import Database
from cvms.store.postgres.listen import listen
from cvms.store.redis.redis_client import RedisAway, RedisClient

CHANNEL = "cvms:outbox"
LISTEN_SECONDS = 5.0  # to PostgreSQL, before Redis is tried again

log = structlog.get_logger(__name__)


class OutboxNotifier(Protocol):
    """Rung by whoever has written to the outbox, heard by every replica."""

    async def notify(self) -> None:
        """Tell all that the outbox has grown, after the commit. Raises nothing."""

    async def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` for each ring until cancelled. Raises DatabaseUnavailable."""


class PostgresOutboxNotifier:
    """NOTIFY, which every commit to the outbox sends by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def notify(self) -> None:
        """The commit has rung."""

    async def listen(self, wake: Callable[[], None]) -> None:
        async with listen(self._database, outbox.CHANNEL) as listener:
            while True:
                wake()  # once at first, for what came before the door was open
                await listener.receive()


class RedisOutboxNotifier:
    """Redis' publish and subscribe; PostgreSQL's while Redis is away."""

    def __init__(self, client: RedisClient, database: Database) -> None:
        self._client = client
        self._other = PostgresOutboxNotifier(database)

    async def notify(self) -> None:
        try:
            await self._client.ask(lambda redis: redis.publish(CHANNEL, "grown"))
        except RedisAway:
            log.debug("outbox_not_rung")  # who does not hear Redis listens to PostgreSQL

    async def listen(self, wake: Callable[[], None]) -> None:
        while True:
            try:
                await self._listen_on_redis(wake)
            except* (RedisError, OSError) as lost:
                log.warning("outbox_heard_from_postgresql", error=type(lost.exceptions[0]).__name__)
            with trio.move_on_after(LISTEN_SECONDS):
                await self._other.listen(wake)

    async def _listen_on_redis(self, wake: Callable[[], None]) -> None:
        async with self._client.subscribed(CHANNEL) as rings:
            async for _ in rings:
                wake()


def outbox_notifier(client: RedisClient | None, database: Database) -> OutboxNotifier:
    """The bell in this Redis, or PostgreSQL's own."""
    return (
        PostgresOutboxNotifier(database)
        if client is None
        else RedisOutboxNotifier(client, database)
    )
