"""Redis, as something that may be away.

coredis runs on anyio, and so on trio; commands share a few connections.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
import coredis
import structlog
import trio
from coredis.exceptions import RedisError
from coredis.patterns.pubsub import PubSub
from coredis.pool import ConnectionPool
from coredis.retry import NoRetryPolicy

# What Redis is asked here has another answer within a millisecond; waiting defeats the purpose.
ANSWER_SECONDS = 0.25
RETRY_SECONDS = 1.0
CONNECTIONS = 4
SILENCE_SECONDS = 15.0  # of a subscription; then it is asked whether it is still there

T = TypeVar("T")
Redis = coredis.Redis[bytes]
log = structlog.get_logger(__name__)


class RedisAway(Exception):
    """Redis does not answer, or did not a moment ago."""


class RedisClient:
    """Asks Redis. Every call ends within ANSWER_SECONDS, or twice that if it has to connect; after
    a failure none is made for RETRY_SECONDS.
    """

    def __init__(self, connect: Callable[[], Redis], client: Redis) -> None:
        self._connect = connect
        self._client = client
        self._away_until = -math.inf
        self._answers = False
        self._trial = trio.Lock()

    async def ask(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        """The answer to a question put to the client. Raises RedisAway and nothing else."""
        if self._answers:
            return await self._put(question)
        # One finds out whether it answers; else all would queue to wait for a connection each.
        async with self._trial:
            return await self._put(question)

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[PubSub[bytes]]:
        """What is published on a channel, its first message being that one is subscribed.

        Its connection is its own: coredis takes one that is lost while it is lent out for one that
        is still in use. Raises RedisError and OSError.
        """
        try:
            async with (
                self._connect() as client,
                client.pubsub(
                    channels=[channel],
                    retry_policy=NoRetryPolicy(),
                    subscription_timeout=ANSWER_SECONDS,
                    max_idle_seconds=SILENCE_SECONDS,
                ) as subscription,
            ):
                yield subscription
        except* anyio.ClosedResourceError:
            # At the end coredis unsubscribes, over a connection that may be closed already.
            log.debug("subscription_closed", channel=channel)

    async def _put(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        if trio.current_time() < self._away_until:
            raise RedisAway
        try:
            # The client ends a wait itself. Cancelled while it connects, its pool would be one
            # connection short for good.
            with trio.CancelScope(shield=True):
                answer = await question(self._client)
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            log.warning("redis_away", error=type(error).__name__)
            self._answers, self._away_until = False, trio.current_time() + RETRY_SECONDS
            raise RedisAway from error
        self._answers = True
        return answer


@asynccontextmanager
async def open_redis(redis_url: str | None) -> AsyncIterator[RedisClient | None]:
    """The Redis at `redis_url`, or None without one. It need not be there yet.

    A rediss:// host is verified against the system's authorities.
    """
    if redis_url is None:
        yield None
        return
    secure = redis_url.startswith("rediss://")

    def connect() -> Redis:
        pool = ConnectionPool.from_url(
            redis_url,
            decode_components=True,
            max_connections=CONNECTIONS,
            stream_timeout=ANSWER_SECONDS,
            connect_timeout=ANSWER_SECONDS,
            ssl_context=ssl.create_default_context() if secure else None,
        )
        return coredis.Redis(connection_pool=pool, retry_policy=NoRetryPolicy())

    async with connect() as client:
        yield RedisClient(connect, client)
