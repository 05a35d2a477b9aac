"""A Redis client that expects Redis to be unavailable at times.

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

# Every caller can do without Redis within a millisecond, so a long wait defeats its purpose.
ANSWER_SECONDS = 0.25
RETRY_SECONDS = 1.0
CONNECTIONS = 4
SILENCE_SECONDS = 15.0  # after which a subscription is checked

T = TypeVar("T")
Redis = coredis.Redis[bytes]
log = structlog.get_logger(__name__)


class RedisAway(Exception):
    """Redis does not answer, or did not within the last RETRY_SECONDS."""


class RedisClient:
    """Sends commands to Redis.

    Every call ends within ANSWER_SECONDS, or twice that if it has to connect. After a failure none
    is made for RETRY_SECONDS.
    """

    def __init__(self, connect: Callable[[], Redis], client: Redis) -> None:
        self._connect = connect
        self._client = client
        self._away_until = -math.inf
        self._answers = False
        self._trial = trio.Lock()

    async def ask(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        """Run `question` on the client and return its result. Raises RedisAway and nothing else."""
        if self._answers:
            return await self._put(question)
        # One caller finds out whether Redis answers; otherwise each would wait for a connection.
        async with self._trial:
            return await self._put(question)

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[PubSub[bytes]]:
        """Subscribe to a channel for the block; the first message confirms the subscription.

        It has a client of its own, since coredis takes a connection that is lost while it is lent
        out for one that is still in use. Raises RedisError and OSError.
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
            # coredis unsubscribes at the end, over a connection that may be closed already.
            log.debug("subscription_closed", channel=channel)

    async def _put(self, question: Callable[[Redis], Awaitable[T]]) -> T:
        if trio.current_time() < self._away_until:
            raise RedisAway
        try:
            # The client's own timeouts end the wait. A cancellation while it connects would leave
            # its pool one connection short forever.
            with trio.CancelScope(shield=True):
                answer = await question(self._client)
        except (RedisError, OSError) as error:  # a TimeoutError is an OSError
            log.warning("redis_unavailable", error=type(error).__name__)
            self._answers, self._away_until = False, trio.current_time() + RETRY_SECONDS
            raise RedisAway from error
        self._answers = True
        return answer


@asynccontextmanager
async def open_redis(redis_url: str | None) -> AsyncIterator[RedisClient | None]:
    """Yield a client of the Redis at `redis_url`, which need not run yet; None without a URL.

    The certificate of a rediss:// host is verified against the system's authorities.
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
