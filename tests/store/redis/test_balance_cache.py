"""The balance cache hits while Redis is available, and misses otherwise."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from cvms.store.redis.balance_cache import BalanceCache, balance_cache, checksum
from cvms.store.redis.redis_client import RETRY_SECONDS, open_redis
from tests.redis_server import RedisServer
from tests.store.examples import vault_row


@asynccontextmanager
async def cache_at(url: str | None, ttl: float = 5.0) -> AsyncIterator[BalanceCache]:
    async with open_redis(url) as client:
        yield balance_cache(client, ttl=ttl)


async def test_a_stored_row_is_read_back_unchanged(redis_server: RedisServer) -> None:
    async with cache_at(redis_server.url) as cache:
        assert await cache.get("owner") is None
        await cache.put(vault_row())
        assert await cache.get("owner") == vault_row()
        assert await cache.get("other") is None


async def test_a_row_expires_after_the_time_to_live(redis_server: RedisServer) -> None:
    async with cache_at(redis_server.url, ttl=5) as cache:
        await cache.put(vault_row())
    assert 4000 < redis_server.client.pttl("cvms:balance:owner") <= 5000


async def test_a_forgotten_row_is_deleted_and_a_late_reader_cannot_restore_it(
    redis_server: RedisServer,
) -> None:
    """A reader may have read the row before the change was committed, and store it only now."""
    async with cache_at(redis_server.url) as cache:
        await cache.put(vault_row())
        await cache.forget("owner", "other")
        assert await cache.get("owner") is None
        await cache.put(vault_row())
        assert await cache.get("owner") is None
        redis_server.client.delete("cvms:balance:owner")  # as if the block had expired
        await cache.put(vault_row(slot=101))
        assert await cache.get("owner") == vault_row(slot=101)


@pytest.mark.parametrize("garbage", [b"garbage", b"{}", b"[]", b'{"owner": 1}', b"\xff"])
async def test_an_unreadable_value_is_a_miss(redis_server: RedisServer, garbage: bytes) -> None:
    async with cache_at(redis_server.url) as cache:
        for value in (garbage, checksum("owner", garbage) + garbage):  # damaged; of another version
            redis_server.client.set("cvms:balance:owner", value)
            assert await cache.get("owner") is None


async def test_a_changed_digit_and_the_row_of_another_owner_are_misses(
    redis_server: RedisServer,
) -> None:
    async with cache_at(redis_server.url) as cache:
        await cache.put(vault_row(total=1000))
        stored = redis_server.client.get("cvms:balance:owner")
        assert isinstance(stored, bytes)
        redis_server.client.set("cvms:balance:other", stored)
        redis_server.client.set("cvms:balance:owner", stored.replace(b"1000", b"9000"))
        assert await cache.get("owner") is None
        assert await cache.get("other") is None


async def test_a_key_of_another_type_is_a_miss_until_it_is_forgotten(
    redis_server: RedisServer, mock_clock: MockClock
) -> None:
    redis_server.client.lpush("cvms:balance:owner", "row")
    async with cache_at(redis_server.url) as cache:
        assert await cache.get("owner") is None
        mock_clock.jump(RETRY_SECONDS)
        await cache.forget("owner")
    assert redis_server.client.type("cvms:balance:owner") == b"string"


async def test_a_killed_redis_is_a_miss_and_is_used_again_later(
    redis_server: RedisServer,
) -> None:
    async with cache_at(redis_server.url) as cache:
        await cache.put(vault_row())
        redis_server.kill()
        with trio.fail_after(2):
            assert await cache.get("owner") is None
            await cache.put(vault_row())
            await cache.forget("owner")
        redis_server.start()
        with trio.fail_after(5):
            while await cache.get("owner") is None:
                await cache.put(vault_row())
                await trio.sleep(0.02)


async def test_a_redis_that_hangs_is_a_miss(redis_server: RedisServer) -> None:
    async with cache_at(redis_server.url) as cache:
        await cache.put(vault_row())
        redis_server.signal(signal.SIGSTOP)
        for _ in range(100):
            assert await cache.get("owner") is None
        redis_server.signal(signal.SIGCONT)


async def test_readers_that_give_up_leave_the_connections_to_others(
    redis_server: RedisServer,
) -> None:
    async with cache_at(redis_server.url) as cache:
        for _ in range(3):
            redis_server.signal(signal.SIGSTOP)
            with trio.move_on_after(0.01):
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(cache.get, "owner")
            redis_server.signal(signal.SIGCONT)
            with trio.fail_after(5):
                while await cache.get("owner") is None:
                    await cache.put(vault_row())
                    await trio.sleep(0.02)
                redis_server.client.delete("cvms:balance:owner")


async def test_many_concurrent_readers_all_get_their_row(redis_server: RedisServer) -> None:
    async with cache_at(redis_server.url) as cache:
        await cache.put(vault_row())
        found: list[object] = []

        async def read() -> None:
            found.append(await cache.get("owner"))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(read)
    assert found == [vault_row()] * 50


async def test_without_redis_every_read_is_a_miss() -> None:
    async with cache_at(None) as cache:
        await cache.put(vault_row())
        await cache.forget("owner")
        assert await cache.get("owner") is None
