"""Redis, as something that may be away.

redis-py's asyncio client does not run on trio, so the plain one works in threads.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import redis
import structlog
import trio
from redis.backoff import NoBackoff
from redis.retry import Retry

# What Redis is asked here has another answer within a millisecond; waiting defeats the purpose.
ANSWER_SECONDS = 0.25
RETRY_SECONDS = 1.0
THREADS = 8

T = TypeVar("T")
log = structlog.get_logger(__name__)


class RedisAway(Exception):
    """Redis does not answer, or did not a moment ago."""


class RedisClient:
    """Asks Redis. Every call ends within ANSWER_SECONDS; after a failure none is made for
    RETRY_SECONDS.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._threads = trio.CapacityLimiter(THREADS)
        self._away_until = -math.inf

    async def ask(self, question: Callable[[redis.Redis], T]) -> T:
        """The answer to a question put to the plain client. Raises RedisAway and nothing else."""
        if trio.current_time() < self._away_until:
            raise RedisAway
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await trio.to_thread.run_sync(
                    partial(question, self._client), abandon_on_cancel=True, limiter=self._threads
                )
        except (redis.RedisError, OSError, trio.TooSlowError) as error:
            log.warning("redis_away", error=type(error).__name__)
            self._away_until = trio.current_time() + RETRY_SECONDS
            raise RedisAway from error


@asynccontextmanager
async def open_redis(redis_url: str | None) -> AsyncIterator[RedisClient | None]:
    """The Redis at `redis_url`, or None without one. It need not be there yet."""
    if redis_url is None:
        yield None
        return
    client = redis.Redis.from_url(
        redis_url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield RedisClient(client)
    finally:
        client.close()
