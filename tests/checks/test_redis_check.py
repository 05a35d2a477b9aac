"""A Redis that is away, or that may forget what it was given."""

from __future__ import annotations

import pytest

from tests.checks.conftest import Setup
from tests.redis_server import RedisServer


async def test_a_redis_that_is_stopped_fails(deployed: Setup, redis_server: RedisServer) -> None:
    deployed.set(REDIS_URL=redis_server.url)
    checked = await deployed.check("--only", "redis")
    assert checked.status == 0
    assert checked.line("redis_version").seen.startswith("6.2")
    redis_server.kill()
    checked = await deployed.check("--only", "redis")
    assert (checked.status, checked.failures) == (1, {"redis_reachable"})


@pytest.mark.parametrize(
    ("policy", "level"), [("noeviction", "ok"), ("volatile-ttl", "ok"), ("allkeys-lru", "warning")]
)
async def test_a_redis_that_evicts_all_keys_is_a_warning(
    deployed: Setup, redis_server: RedisServer, policy: str, level: str
) -> None:
    redis_server.client.config_set("maxmemory-policy", policy)
    deployed.set(REDIS_URL=redis_server.url)
    line = (await deployed.check("--only", "redis")).line("redis_eviction")
    assert (line.level, line.seen) == (level, policy)


async def test_without_a_redis_all_is_well(deployed: Setup) -> None:
    line = (await deployed.check("--only", "redis")).line("redis_reachable")
    assert line.level == "ok"
    assert line.seen.startswith("not configured")
