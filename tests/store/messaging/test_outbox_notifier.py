"""A listener is woken by what is published in Redis, and by what is committed."""

from __future__ import annotations

import trio

from cvms.store.messaging.outbox_notifier import CHANNEL, RedisOutboxNotifier
from cvms.store.postgres.database import Database
from cvms.store.redis.redis_client import open_redis
from tests.redis_server import RedisServer


class Wakeups:
    """Counts wake-ups, and waits for the next."""

    def __init__(self) -> None:
        self.count = 0
        self._woken = trio.Event()

    def wake(self) -> None:
        self.count += 1
        self._woken.set()
        self._woken = trio.Event()

    async def until(self, count: int) -> None:
        with trio.fail_after(30):
            while self.count < count:
                await self._woken.wait()


async def test_each_notification_that_redis_publishes_wakes(
    database: Database, redis_server: RedisServer
) -> None:
    """Nothing is committed, so that PostgreSQL has nothing to tell."""
    woken = Wakeups()
    async with open_redis(redis_server.url) as redis, trio.open_nursery() as nursery:
        assert redis is not None
        notifier = RedisOutboxNotifier(redis, database)
        nursery.start_soon(notifier.listen, woken.wake)
        await woken.until(2)  # once for each of the two, for what was before
        await notifier.notify()
        await woken.until(3)
        redis_server.client.publish(CHANNEL, "grown")
        await woken.until(4)
        nursery.cancel_scope.cancel()


async def test_a_redis_that_does_not_run_wakes_nobody_and_disturbs_nobody(
    database: Database, redis_server: RedisServer
) -> None:
    redis_server.kill()
    woken = Wakeups()
    async with open_redis(redis_server.url) as redis, trio.open_nursery() as nursery:
        assert redis is not None
        notifier = RedisOutboxNotifier(redis, database)
        nursery.start_soon(notifier.listen, woken.wake)
        await woken.until(1)
        await notifier.notify()
        nursery.cancel_scope.cancel()
