"""A Redis client that expects Redis to be unavailable, slow or wrong at times.

redis-py blocks, so it runs in threads. No caller waits for one longer than its deadline, and a
caller that is cancelled leaves at once.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import structlog
import trio

from cvms.store.redis.calls import Call, Command, Reply
from cvms.store.redis.connection import RedisAway
from cvms.store.redis.subscription import Subscriptions

# Every caller can do without Redis within a millisecond, so a long wait defeats its purpose.
ANSWER_SECONDS = 0.25
RETRY_SECONDS = 1.0
MAX_WAITING = 1024
"""Calls that may wait for the thread. Requests in flight are fewer."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class ScriptUnknown(RedisAway):
    """Redis does not hold the script that EVALSHA named. This is no outage."""


class RedisClient:
    """Sends commands to Redis, behind a circuit breaker.

    Every call ends within ANSWER_SECONDS, whatever Redis does. After a failure none is made for
    RETRY_SECONDS; then one at a time, until one has succeeded.
    """

    def __init__(self, url: str) -> None:
        # Few processes have a Redis, and its library takes a sixth of the time in which one starts.
        from cvms.store.redis.pipeline_thread import PipelineThread  # noqa: PLC0415

        self._thread = PipelineThread(url, seconds=ANSWER_SECONDS, delivered=self._deliver)
        self._subscriptions = Subscriptions(url, seconds=ANSWER_SECONDS)
        self._waiting = 0
        self._failing = False
        self._away_until = -math.inf

    async def ask(self, read: Callable[[list[Reply]], T], *commands: Command) -> T:
        """Send commands, and return what `read` makes of their replies.

        `read` raises ValueError if they are not what Redis answers to such commands. Raises
        RedisAway, and ScriptUnknown after EVALSHA.
        """
        if self._is_away():
            raise RedisAway
        call = Call(commands, read)
        self._waiting += 1
        self._thread.put(call)
        try:
            with trio.move_on_after(ANSWER_SECONDS):
                await call.done.wait()
        finally:
            call.wanted = False
        if not call.finished:  # the thread is stuck
            self._open_breaker(TimeoutError())
            raise RedisAway
        if call.script_unknown:
            raise ScriptUnknown from call.error
        if call.error is not None:
            raise RedisAway from call.error
        result: T = call.result
        return result

    async def listen(self, channel: str, wake: Callable[[], None]) -> None:
        """Call `wake` once subscribed to the channel, and for each message, until cancelled.

        Raises RedisAway once the subscription is lost.
        """
        await self._subscriptions.listen(channel, wake)

    def close(self) -> None:
        """End the threads, without waiting for them."""
        self._thread.close()

    def _is_away(self) -> bool:
        if self._failing:
            # A thread that is stuck, or busy with the one call that finds out, delays nobody else.
            return self._waiting > 0 or trio.current_time() < self._away_until
        return self._waiting >= MAX_WAITING

    def _open_breaker(self, error: Exception | None) -> None:
        now = trio.current_time()
        if not self._failing or now >= self._away_until:
            log.warning("redis_unavailable", error=type(error).__name__)
        self._failing, self._away_until = True, now + RETRY_SECONDS

    def _deliver(self, calls: Sequence[Call]) -> None:
        """Wake the callers, also those that have left, and learn from how it went."""
        self._waiting -= len(calls)
        failed = next((call for call in calls if call.is_outage()), None)
        if failed is not None:
            self._open_breaker(failed.error)
        elif any(call.finished for call in calls):
            self._failing = False
        for call in calls:
            call.done.set()


@asynccontextmanager
async def open_redis(redis_url: str | None) -> AsyncIterator[RedisClient | None]:
    """Yield a client of the Redis at `redis_url`, which need not run yet; None without a URL."""
    if redis_url is None:
        yield None
        return
    client = RedisClient(redis_url)
    try:
        yield client
    finally:
        client.close()
