"""Vault rows in Redis, for the balance route.

Redis is an optimisation: when it is away, slow, or holds something unreadable, the row is simply
not there. redis-py's asyncio client does not run on trio, so the plain one works in threads.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import redis
import structlog
import trio
from redis.backoff import NoBackoff
from redis.retry import Retry

from cvms.store.vaults import VaultRow

# A miss costs one primary-key SELECT, well under a millisecond; waiting longer defeats the purpose.
ANSWER_SECONDS = 0.25
RETRY_SECONDS = 1.0
THREADS = 8

# How long a forgotten row stays barred from `put`: longer than any reader keeps a row it has read
# before the change was committed.
BARRED_SECONDS = 2.0
BARRED = b""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class BalanceCache(Protocol):
    """Vault rows by owner, none older than the cache's time to live."""

    async def get(self, owner: str) -> VaultRow | None:
        """The row of `owner`, or None for a miss."""

    async def put(self, row: VaultRow) -> None:
        """Keep a row that was just read from the database."""

    async def forget(self, *owners: str) -> None:
        """Drop the rows of `owners`; call it after the change is committed."""


class NoCache:
    """A BalanceCache that never has anything."""

    async def get(self, owner: str) -> VaultRow | None:
        return None

    async def put(self, row: VaultRow) -> None:
        """Keep nothing."""

    async def forget(self, *owners: str) -> None:
        """There is nothing to drop."""


class RedisCache:
    """A BalanceCache in Redis. Every call ends within ANSWER_SECONDS and raises nothing.

    After a failure the calls miss at once for RETRY_SECONDS.
    """

    def __init__(self, client: redis.Redis, *, ttl: float) -> None:
        self._client = client
        self._ttl = ttl
        self._threads = trio.CapacityLimiter(THREADS)
        self._away_until = -math.inf

    async def get(self, owner: str) -> VaultRow | None:
        raw = await self._ask(partial(self._client.get, _key(owner)))
        if not isinstance(raw, bytes) or raw == BARRED:
            return None
        try:
            return msgspec.json.decode(raw, type=VaultRow)
        except msgspec.DecodeError:  # another version of the service wrote it
            return None

    async def put(self, row: VaultRow) -> None:
        # NX: neither a row that is there nor the bar that `forget` left gives way.
        value, milliseconds = msgspec.json.encode(row), round(self._ttl * 1000)
        await self._ask(partial(self._client.set, _key(row.owner), value, px=milliseconds, nx=True))

    async def forget(self, *owners: str) -> None:
        if owners:
            await self._ask(partial(self._bar, owners))

    def _bar(self, owners: tuple[str, ...]) -> None:
        with self._client.pipeline(transaction=False) as pipeline:
            for owner in owners:
                pipeline.set(_key(owner), BARRED, px=round(BARRED_SECONDS * 1000))
            pipeline.execute()

    async def _ask(self, question: Callable[[], T]) -> T | None:
        if trio.current_time() < self._away_until:
            return None
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await trio.to_thread.run_sync(
                    question, abandon_on_cancel=True, limiter=self._threads
                )
        except (redis.RedisError, OSError, trio.TooSlowError) as error:
            log.warning("cache_away", error=type(error).__name__)
            self._away_until = trio.current_time() + RETRY_SECONDS
            return None


@asynccontextmanager
async def open_cache(redis_url: str | None, *, ttl: float) -> AsyncIterator[BalanceCache]:
    """The cache at `redis_url`, or one that never has anything. `ttl` in seconds."""
    if redis_url is None:
        yield NoCache()
        return
    client = redis.Redis.from_url(
        redis_url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield RedisCache(client, ttl=ttl)
    finally:
        client.close()


def _key(owner: str) -> str:
    return f"cvms:balance:{owner}"
