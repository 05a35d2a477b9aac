"""A cache of vault rows in Redis, for the balance route.

Redis is an optimisation: if it is unavailable, slow, or holds something unreadable, that is a cache
miss. A checksum over owner and row tells a row that was damaged, or is another owner's.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol, TypeVar

import msgspec

from cvms.store.redis.connection import RedisAway
from cvms.store.redis.pipeline_thread import Command, Reply
from cvms.store.redis.redis_client import RedisClient
from cvms.store.vaults.vaults import VaultRow

# How long `put` is blocked after `forget`: longer than any reader holds a row that it read before
# the change was committed.
BLOCK_SECONDS = 2.0
BLOCKED = b""
CHECKSUM_BYTES = 4

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
        raw = await self._ask(_value, ("GET", _key(owner)))
        if not raw or raw[:CHECKSUM_BYTES] != checksum(owner, raw[CHECKSUM_BYTES:]):
            return None
        try:
            return msgspec.json.decode(raw[CHECKSUM_BYTES:], type=VaultRow)
        except msgspec.DecodeError:  # another version of the service wrote it
            return None

    async def put(self, row: VaultRow) -> None:
        # NX: neither a stored row nor the block that `forget` left is overwritten.
        value = msgspec.json.encode(row)
        value = checksum(row.owner, value) + value
        await self._ask(_are_set, ("SET", _key(row.owner), value, "PX", _ms(self._ttl), "NX"))

    async def forget(self, *owners: str) -> None:
        if owners:
            block = _ms(BLOCK_SECONDS)
            await self._ask(
                _are_set, *(("SET", _key(owner), BLOCKED, "PX", block) for owner in owners)
            )

    async def _ask(self, read: Callable[[list[Reply]], T], *commands: Command) -> T | None:
        try:
            return await self._client.ask(read, *commands)
        except RedisAway:
            return None


def balance_cache(client: RedisClient | None, *, ttl: float) -> BalanceCache:
    """Return a cache in this Redis, or an empty one without Redis. `ttl` is in seconds."""
    return NoCache() if client is None else RedisCache(client, ttl=ttl)


def _key(owner: str) -> str:
    return f"cvms:balance:{owner}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def checksum(owner: str, value: bytes) -> bytes:
    """Return what precedes a row that is stored for `owner`."""
    return zlib.crc32(value, zlib.crc32(owner.encode())).to_bytes(CHECKSUM_BYTES)


def _value(replies: list[Reply]) -> bytes | None:
    match replies:
        case [bytes() | None as value]:
            return value
    raise ValueError("GET was answered by something else")


def _are_set(replies: list[Reply]) -> None:
    if any(reply not in (b"OK", None) for reply in replies):
        raise ValueError("SET was answered by something else")
