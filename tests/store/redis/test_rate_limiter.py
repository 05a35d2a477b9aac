"""Rate limits admit the size of a bucket, then its rate; on all of several buckets or none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from cvms.metrics import Metrics
from cvms.store.redis.rate_limiter import (
    MAX_KEYS,
    Claim,
    Limiter,
    MemoryLimiter,
    Rate,
    RedisLimiter,
    limiter,
)
from cvms.store.redis.redis_client import RedisClient, open_redis
from tests.redis_proxy import Fault, RedisProxy
from tests.redis_server import RedisServer

Make = Callable[[], Limiter]

pytestmark = pytest.mark.usefixtures("patient")


@pytest.fixture
async def redis(patient: None, redis_server: RedisServer) -> AsyncIterator[RedisClient]:
    async with open_redis(redis_server.url) as client:
        assert client is not None
        yield client


@pytest.fixture(params=["memory", "redis"])
async def make(request: pytest.FixtureRequest, redis: RedisClient) -> Make:
    """A limiter of each kind; those in Redis share their buckets."""
    if request.param == "memory":
        return MemoryLimiter
    return lambda: limiter(redis, metrics=Metrics())


async def test_a_bucket_admits_its_size_and_then_says_when_to_retry(make: Make) -> None:
    claim = Claim("a", Rate(3, 3600))
    limits = make()
    left = [(await limits.take([claim])).remaining for _ in range(3)]
    assert left == [2, 1, 0]
    refused = await limits.take([claim])
    assert refused.retry_after is not None
    assert 1190 < refused.retry_after <= 1200
    assert 3590 < refused.reset_after <= 3600
    assert (refused.limit, refused.remaining) == (3, 0)


async def test_each_key_has_its_own_bucket(make: Make) -> None:
    limits = make()
    assert (await limits.take([Claim("a", Rate(1, 3600))])).retry_after is None
    assert (await limits.take([Claim("b", Rate(1, 3600))])).retry_after is None


async def test_a_request_counts_on_all_buckets_or_on_none(make: Make) -> None:
    limits = make()
    small, large = Claim("small", Rate(1, 3600)), Claim("large", Rate(5, 3600))
    assert (await limits.take([small, large])).retry_after is None
    for _ in range(3):
        assert (await limits.take([small, large])).retry_after is not None
    assert (await limits.take([large])).remaining == 3


async def test_twenty_at_once_get_no_more_than_it_holds(make: Make) -> None:
    limits = make()
    claim = Claim("a", Rate(7, 3600))
    passed = []

    async def ask() -> None:
        if (await limits.take([claim])).retry_after is None:
            passed.append(1)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert len(passed) == 7


async def test_a_bucket_fills_at_its_rate(autojump_clock: MockClock) -> None:
    limits = MemoryLimiter()
    claim = Claim("a", Rate(2, 10))
    assert [(await limits.take([claim])).retry_after for _ in range(3)] == [None, None, 5.0]
    await trio.sleep(5)
    assert [(await limits.take([claim])).retry_after for _ in range(2)] == [None, 5.0]
    await trio.sleep(1000)
    assert [(await limits.take([claim])).retry_after for _ in range(3)] == [None, None, 5.0]


@given(gaps=st.lists(st.integers(0, 30), min_size=1, max_size=60), size=st.integers(1, 5))
def test_no_window_ever_passes_more_than_the_bucket_and_its_refill(
    gaps: list[int], size: int
) -> None:
    rate = Rate(size, float(size))  # one a second

    async def run() -> list[float]:
        limits, passed = MemoryLimiter(), []
        for gap in gaps:
            await trio.sleep(gap / 10)
            if (await limits.take([Claim("a", rate)])).retry_after is None:
                passed.append(trio.current_time())
        return passed

    passed: list[float] = trio.run(run, clock=MockClock(autojump_threshold=0))
    for first, start in enumerate(passed):
        for last in range(first, len(passed)):
            assert last - first + 1 <= size + (passed[last] - start) + 1e-6


async def test_memory_is_bounded_and_keeps_the_newest(autojump_clock: MockClock) -> None:
    limits = MemoryLimiter()
    rate = Rate(1, 3600)
    for number in range(MAX_KEYS + 1):
        limits.take_now([Claim(str(number), rate)])
    assert (await limits.take([Claim(str(MAX_KEYS), rate)])).retry_after is not None
    assert (await limits.take([Claim("0", rate)])).retry_after is None


async def test_replicas_share_through_redis_and_count_alone_while_it_is_away(
    redis: RedisClient, redis_server: RedisServer
) -> None:
    metrics = Metrics()
    one, other = (RedisLimiter(redis, metrics=metrics) for _ in "12")
    claim = Claim("a", Rate(1, 3600))
    assert (await one.take([claim])).retry_after is None
    assert (await other.take([claim])).retry_after is not None
    assert metrics.registry.get_sample_value("cvms_limits_local") == 0

    redis_server.kill()
    assert (await one.take([claim])).retry_after is None
    assert (await one.take([claim])).retry_after is not None
    assert metrics.registry.get_sample_value("cvms_limits_local") == 1


async def test_a_bucket_leaves_redis_once_it_is_full_again(
    redis: RedisClient, redis_server: RedisServer
) -> None:
    limits = limiter(redis, metrics=Metrics())
    await limits.take([Claim("a", Rate(10, 60))])
    assert 5000 < redis_server.client.pttl("cvms:limit:a") <= 6000


@pytest.mark.parametrize("garbage", [b"", b"none", b"nan", b"inf", b"1e300", b"-1e300", [b"list"]])
async def test_a_bucket_that_holds_anything_refuses_nobody_for_longer_than_a_request(
    redis: RedisClient, redis_server: RedisServer, garbage: bytes | list[bytes]
) -> None:
    if isinstance(garbage, list):
        redis_server.client.lpush("cvms:limit:a", *garbage)
    else:
        redis_server.client.set("cvms:limit:a", garbage)
    allowance = await limiter(redis, metrics=Metrics()).take([Claim("a", Rate(10, 60))])
    assert (allowance.retry_after or 0) <= 6


async def test_a_server_that_forgot_the_script_is_given_it_again(
    redis: RedisClient, redis_server: RedisServer
) -> None:
    limits, claim = limiter(redis, metrics=Metrics()), Claim("a", Rate(2, 3600))
    for remaining in (1, 0):
        redis_server.client.script_flush()
        assert (await limits.take([claim])).remaining == remaining
    assert (await limits.take([claim])).retry_after is not None


async def test_a_bucket_that_was_larger_refuses_for_no_longer_than_its_new_size(
    redis: RedisClient,
) -> None:
    metrics = Metrics()
    limits = limiter(redis, metrics=metrics)
    assert (await limits.take([Claim("a", Rate(1, 3600))])).retry_after is None
    refused = await limits.take([Claim("a", Rate(1, 10))])
    assert refused.retry_after == 10
    assert metrics.registry.get_sample_value("cvms_limits_local") == 0


@pytest.mark.parametrize("slack", [-(2**63), 2**63 - 1])
async def test_a_state_that_no_bucket_can_have_is_not_believed(
    proxy: RedisProxy, slack: int
) -> None:
    proxy.set(Fault(answer=f"*1\r\n:{slack}\r\n".encode()))
    async with open_redis(proxy.url) as client:
        allowance = await limiter(client, metrics=Metrics()).take([Claim("a", Rate(3, 60))])
    assert (allowance.remaining, allowance.retry_after) == (2, None)
