"""A proxy before a Redis, and a client that reaches Redis through it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cvms.store.redis import redis_client
from cvms.store.redis.connection import Deadline
from cvms.store.redis.redis_client import RedisClient, open_redis
from tests.redis_proxy import HEALTHY, RedisProxy, redis_proxy
from tests.redis_server import RedisServer

PATIENCE_SECONDS = 30.0


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait longer for a healthy Redis than the service does: the machine may be busy."""
    monkeypatch.setattr(redis_client, "ANSWER_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
async def proxy(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RedisProxy]:
    """A proxy on which the client's thread has time while there is no fault.

    A mocked clock does not reach the thread's own deadline.
    """
    restart = Deadline.restart
    async with redis_proxy(redis_server.socket_path) as proxy:

        def restart_by_fault(deadline: Deadline, seconds: float) -> None:
            restart(deadline, PATIENCE_SECONDS if proxy.fault == HEALTHY else seconds)

        monkeypatch.setattr(Deadline, "restart", restart_by_fault)
        yield proxy


@pytest.fixture
async def client(proxy: RedisProxy) -> AsyncIterator[RedisClient]:
    """A client of the proxy."""
    async with open_redis(proxy.url) as client:
        assert client is not None
        yield client
