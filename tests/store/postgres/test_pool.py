"""Connections are reused while they are young and clean, and replaced otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from cvms.store.postgres.circuit_breaker import CircuitBreaker
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.pool import Pool, PoolLimits
from cvms.store.postgres.session import open_session

LIFETIME = 100.0
MAX_IDLE = 20.0
TRUST_IDLE = 5.0


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(database_url) as pool:
        yield pool


@asynccontextmanager
async def open_pool(database_url: str) -> AsyncIterator[Pool]:
    async def connect() -> Connection:
        return await open_session(database_url, connect_timeout=5, query_timeout=10)

    limits = PoolLimits(
        size=2,
        acquire_timeout=5,
        check_timeout=2,
        max_lifetime=LIFETIME,
        max_idle=MAX_IDLE,
        trust_idle=TRUST_IDLE,
    )
    pool = Pool(connect, limits=limits, circuit_breaker=CircuitBreaker())
    yield pool
    pool.close()


async def session(pool: Pool) -> int:
    """Use a connection and return the process id of its server session."""
    async with pool.connection() as conn:
        await conn.execute("SELECT 1")
        return conn.info.backend_pid


async def test_a_released_connection_is_used_again(pool: Pool) -> None:
    assert await session(pool) == await session(pool)


async def test_a_connection_with_an_open_transaction_is_not_reused(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute("BEGIN")
    assert conn.closed
    async with pool.connection() as conn:
        assert conn.reusable


async def test_a_connection_with_an_unfinished_transaction_block_is_not_reused(
    pool: Pool,
) -> None:
    """psycopg would treat the next block as nested, and send no BEGIN."""
    async with pool.connection() as conn:
        block = conn.transaction()
        await block.__aenter__()
        await conn.execute("ROLLBACK")
    assert conn.closed
    await block.__aexit__(None, None, None)


async def test_a_connection_left_in_a_pipeline_is_not_reused(pool: Pool) -> None:
    async with pool.connection() as conn:
        conn.pgconn.enter_pipeline_mode()
    assert conn.closed


async def test_a_long_idle_connection_is_checked_before_use(
    database_url: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(database_url) as pool:
        async with pool.connection() as conn:
            await conn.execute("SELECT 1")
        conn.pgconn.finish()  # lost, without a notice from the kernel
        mock_clock.jump(TRUST_IDLE + 1)
        async with pool.connection() as other:
            await other.execute("SELECT 1")
            assert other is not conn


async def test_no_connection_outlives_its_lifetime(
    database_url: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(database_url) as pool:
        first = await session(pool)
        for _ in range(int(LIFETIME / 10) - 2):
            mock_clock.jump(10)
            assert await session(pool) == first
        mock_clock.jump(20)
        assert await session(pool) != first


async def test_a_connection_past_its_lifetime_is_closed_on_release(
    database_url: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(database_url) as pool, pool.connection() as conn:
        mock_clock.jump(LIFETIME)
    assert conn.closed


async def test_connections_idle_for_too_long_are_closed(
    database_url: str, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(database_url) as pool:
        async with pool.connection() as first:
            async with pool.connection() as second:
                await second.execute("SELECT 1")
            mock_clock.jump(MAX_IDLE + 1)
        assert second.closed
        assert not first.closed


async def test_closing_the_pool_closes_idle_connections_and_those_released_later(
    pool: Pool,
) -> None:
    async with pool.connection() as busy:
        async with pool.connection() as resting:
            pass
        pool.close()
        assert resting.closed
        await busy.execute("SELECT 1")
    assert busy.closed


async def test_lifetimes_differ_so_that_connections_are_not_all_replaced_at_once(
    database_url: str, mock_clock: trio.testing.MockClock
) -> None:
    survived = 0
    for _ in range(20):
        async with open_pool(database_url) as pool:
            async with pool.connection() as conn:
                mock_clock.jump(LIFETIME * 0.95)
            survived += not conn.closed
    assert 0 < survived < 20
