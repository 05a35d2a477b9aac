"""A cache of vault rows in Redis, for the balance route.

Redis is an optimisation: if it is unavailable, slow, or holds something unreadable, that is a cache
miss.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import msgspec
from coredis.tokens import PureToken

from cvms.store.redis.redis_client import Redis, RedisAway, RedisClient
from cvms.store.vaults.vaults import VaultRow

# How long `put` is blocked after `forget`: longer than any reader holds a row that it read before
# the change was committed.
BLOCK_SECONDS = 2.0
BLOCKED = b""

T = TypeVar("T")


class BalanceCache(Protocol):
    """Vault rows by owner, none older than the cache's time to live."""

    async def get(self, owner: str) -> VaultRow | None:
        """Return the row of `owner`, None on a miss."""

    async def put(self, row: VaultRow) -> None:
        """Store a row that was just read from the database."""

    async def forget(self, *owners: str) -> None:
        """Delete the rows of `owners`. Call it after the change is committed."""


class NoCache:
    """A BalanceCache that is always empty."""

    async def get(self, owner: str) -> VaultRow | None:
        return None

    async def put(self, row: VaultRow) -> None:
        """Do nothing."""

    async def forget(self, *owners: str) -> None:
        """Do nothing."""


class RedisCache:
    """A BalanceCache in Redis. Its methods raise nothing; they miss while Redis is unavailable."""

    def __init__(self, client: RedisClient, *, ttl: float) -> None:
        self._client = client
        self._ttl = ttl

    async def get(self, owner: str) -> VaultRow | None:
        raw = await self._ask(lambda client: client.get(_key(owner)))
        if not isinstance(raw, bytes) or raw == BLOCKED:
            return None
        try:
            return msgspec.json.decode(raw, type=VaultRow)
        except msgspec.DecodeError:  # another version of the service wrote it
            return None

    async def put(self, row: VaultRow) -> None:
        # NX: neither a stored row nor the block that `forget` left is overwritten.
        value, milliseconds = msgspec.json.encode(row), round(self._ttl * 1000)
        await self._ask(
            lambda client: client.set(
                _key(row.owner), value, px=milliseconds, condition=PureToken.NX
            )
        )

    async def forget(self, *owners: str) -> None:
        async def block(client: Redis) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for owner in owners:
                    pipeline.set(_key(owner), BLOCKED, px=round(BLOCK_SECONDS * 1000))

        if owners:
            await self._ask(block)

    async def _ask(self, question: Callable[[Redis], Awaitable[T]]) -> T | None:
        try:
            return await self._client.ask(question)
        except RedisAway:
            return None


def balance_cache(client: RedisClient | None, *, ttl: float) -> BalanceCache:
    """Return a cache in this Redis, or an empty one without Redis. `ttl` is in seconds."""
    return NoCache() if client is None else RedisCache(client, ttl=ttl)


def _key(owner: str) -> str:
    return f"cvms:balance:{owner}"
