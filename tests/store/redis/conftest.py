"""A proxy before a Redis, and a client that reaches Redis through it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cvms.store.redis import redis_client
from cvms.store.redis.redis_client import RedisClient, open_redis
from tests.redis_proxy import RedisProxy, redis_proxy
from tests.redis_server import RedisServer


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for a healthy Redis than the service does: the machine may be busy."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", 30.0)


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncIterator[RedisProxy]:
    async with redis_proxy(redis_server.socket_path) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: RedisProxy) -> AsyncIterator[RedisClient]:
    """A client of the proxy."""
    async with open_redis(proxy.url) as client:
        assert client is not None
        yield client
