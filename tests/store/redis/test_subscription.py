"""A subscription wakes for each message, and is lost when Redis does anything else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from cvms.store.redis.connection import RedisAway
from cvms.store.redis.redis_client import RedisClient
from tests.redis_proxy import FAULTS, Fault, RedisProxy
from tests.redis_server import RedisServer


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - of a thread, or of another process
            await trio.sleep(0.01)


async def test_a_subscriber_wakes_once_subscribed_and_for_each_message(
    client: RedisClient, redis_server: RedisServer
) -> None:
    woken: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.listen, "channel", partial(woken.append, 1))
        await until(lambda: len(woken) == 1)
        redis_server.client.publish("channel", "one")
        await until(lambda: len(woken) == 2)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_subscription_that_is_not_confirmed_is_lost(
    client: RedisClient, proxy: RedisProxy, fault: Fault, mock_clock: MockClock
) -> None:
    if fault.garbled or fault.cut_after:
        fault = Fault(garbled=1.0) if fault.garbled else Fault(cut_after=0)
    proxy.set(fault)
    with pytest.raises(RedisAway):
        await client.listen("channel", lambda: None)


@pytest.mark.parametrize("fault", [Fault(refuses=True), Fault(silent=True)], ids=str)
async def test_a_subscription_that_falls_silent_is_lost(
    client: RedisClient, proxy: RedisProxy, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.store.redis.subscription.BEAT_SECONDS", 0.01)
    monkeypatch.setattr("cvms.store.redis.subscription.SILENCE_SECONDS", 0.05)
    with pytest.raises(RedisAway):
        await client.listen("channel", partial(proxy.set, fault))


async def test_a_quiet_subscription_lives_on(
    client: RedisClient, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.store.redis.subscription.BEAT_SECONDS", 0.01)
    monkeypatch.setattr("cvms.store.redis.subscription.SILENCE_SECONDS", 0.05)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.listen, "channel", lambda: None)
        await until(lambda: proxy.commands.count(b"PING") >= 5)
        assert proxy.commands.count(b"SUBSCRIBE") == 1
        nursery.cancel_scope.cancel()


async def test_a_cancelled_subscriber_leaves_no_subscription_behind(
    client: RedisClient, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.store.redis.subscription.BEAT_SECONDS", 0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.listen, "channel", nursery.cancel_scope.cancel)
    await until(lambda: redis_server.client.pubsub_numsub("channel") == [(b"channel", 0)])
