"""Vault rows in Redis, for the balance route.

Redis is an optimisation: when it is away, slow, or holds something unreadable, the row is simply
not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec
from coredis.tokens import PureToken

from cvms.store.redis.redis_client import Redis, RedisAway, RedisClient
from cvms.store.vaults.vaults import VaultRow

# How long a forgotten row stays barred from `put`: longer than any reader keeps a row it has read
# before the change was committed.
BARRED_SECONDS = 2.0
BARRED = b""

T = TypeVar("T")


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
    """A BalanceCache in Redis. Its calls raise nothing; while Redis is away they miss."""

    def __init__(self, client: RedisClient, *, ttl: float) -> None:
        self._client = client
        self._ttl = ttl

    async def get(self, owner: str) -> VaultRow | None:
        raw = await self._ask(lambda client: client.get(_key(owner)))
        if not isinstance(raw, bytes) or raw == BARRED:
            return None
        try:
            return msgspec.json.decode(raw, type=VaultRow)
        except msgspec.DecodeError:  # another version of the service wrote it
            return None

    async def put(self, row: VaultRow) -> None:
        # NX: neither a row that is there nor the bar that `forget` left gives way.
        value, milliseconds = msgspec.json.encode(row), round(self._ttl * 1000)
        await self._ask(
            lambda client: client.set(
                _key(row.owner), value, px=milliseconds, condition=PureToken.NX
            )
        )

    async def forget(self, *owners: str) -> None:
        async def bar(client: Redis) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for owner in owners:
                    pipeline.set(_key(owner), BARRED, px=round(BARRED_SECONDS * 1000))

        if owners:
            await self._ask(bar)

    async def _ask(self, question: Callable[[Redis], Awaitable[T]]) -> T | None:
        try:
            return await self._client.ask(question)
        except RedisAway:
            return None


def balance_cache(client: RedisClient | None, *, ttl: float) -> BalanceCache:
    """The cache in this Redis, or one that never has anything. `ttl` in seconds."""
    return NoCache() if client is None else RedisCache(client, ttl=ttl)


def _key(owner: str) -> str:
    return f"cvms:balance:{owner}"
