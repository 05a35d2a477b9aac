"""Whatever Redis does costs a call its deadline at most, stops the next ones, and passes."""

from __future__ import annotations

import signal
import socket
import ssl
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import trio
import trustme
from trio.testing import MockClock

from cvms.metrics import Metrics
from cvms.store.redis import redis_client
from cvms.store.redis.connection import RedisAway
from cvms.store.redis.rate_limiter import Allowance, Claim, Rate, RedisLimiter
from cvms.store.redis.redis_client import RETRY_SECONDS, RedisClient, ScriptUnknown, open_redis
from tests.redis_proxy import FAULTS, Fault, RedisProxy, redis_proxy
from tests.redis_server import RedisServer

BUCKET = Rate(1_000_000, 1e9)
"""It never runs dry in a test, and does not fill again."""
SLOW = Fault(delay=(0.2, 0.6))
SILENT = Fault(silent=True)


@dataclass(slots=True)
class Resolver:
    """The resolver of names, on which the client's thread waits until it is released."""

    asked: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class SharedLimits:
    """A rate limiter whose bucket nobody else uses, and that says where it has counted."""

    def __init__(self, client: RedisClient) -> None:
        self._metrics = Metrics()
        self._limiter = RedisLimiter(client, metrics=self._metrics)

    async def take(self, key: str = "key") -> Allowance:
        allowance = await self._limiter.take([Claim(key, BUCKET)])
        assert allowance.limit == BUCKET.requests
        assert 0 <= allowance.remaining < BUCKET.requests
        return allowance

    @property
    def in_redis(self) -> bool:
        return self._metrics.registry.get_sample_value("cvms_limits_local") == 0


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver, resolve = Resolver(), socket.getaddrinfo

    def wait(*arguments: Any) -> Any:
        if threading.current_thread().name == "redis":
            resolver.asked.set()
            resolver.released.wait()
        return resolve(*arguments)

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    return resolver


@pytest.fixture
def limits(client: RedisClient) -> SharedLimits:
    return SharedLimits(client)


def only(replies: list[Any]) -> Any:
    """Read an answer to GET as strictly as the service does."""
    [reply] = replies
    if not isinstance(reply, bytes | None):
        raise ValueError
    return reply


async def get(client: RedisClient) -> Any:
    return await client.ask(only, ("GET", "key"))


async def ask_for_ever(client: RedisClient) -> None:
    """Ask until that fails: a garbled answer may be right at first, or the connection cut later."""
    while True:
        await get(client)
        await client.ask(only, ("ECHO", "word" * 100))


async def test_a_slow_redis_under_load_is_used_again_afterwards(
    limits: SharedLimits, proxy: RedisProxy
) -> None:
    async def take() -> None:
        for _ in range(20):
            with trio.move_on_after(0.3):  # as requests that are given up
                await limits.take()
            await trio.sleep(0.05)

    await limits.take()
    proxy.set(SLOW)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(take)
        proxy.clear()
        await limits.take()
        while not limits.in_redis:
            await trio.sleep(0.02)
            await limits.take()


async def test_a_redis_that_stops_or_is_killed_is_used_again_afterwards(
    redis_server: RedisServer,
) -> None:
    async with open_redis(redis_server.url) as client:
        assert client is not None
        limits = SharedLimits(client)
        await limits.take()
        for stop, go_on in (
            (
                partial(redis_server.signal, signal.SIGSTOP),
                partial(redis_server.signal, signal.SIGCONT),
            ),
            (redis_server.kill, redis_server.start),
        ):
            stop()
            await limits.take()
            assert not limits.in_redis
            go_on()
            with trio.fail_after(5):
                while not limits.in_redis:
                    await trio.sleep(0.02)
                    await limits.take()


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_ends_one_call_stops_others_and_passes(
    client: RedisClient, proxy: RedisProxy, fault: Fault, mock_clock: MockClock
) -> None:
    """No time passes but that of the thread, whose own deadline ends the call."""
    assert await get(client) is None
    proxy.set(fault)
    with pytest.raises(RedisAway):
        await ask_for_ever(client)
    sent, connections = len(proxy.commands), proxy.connections
    for _ in range(100):
        with pytest.raises(RedisAway):
            await get(client)
    assert (len(proxy.commands), proxy.connections) == (sent, connections)
    proxy.clear()
    mock_clock.jump(RETRY_SECONDS)
    assert await get(client) is None
    assert len(proxy.commands) == sent + 1


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_no_fault_from_the_start_changes_what_is_counted(
    limits: SharedLimits, proxy: RedisProxy, fault: Fault, mock_clock: MockClock
) -> None:
    proxy.set(fault)
    for _ in range(4):
        await limits.take()
        await limits.take("other")
        mock_clock.jump(RETRY_SECONDS)
    proxy.clear()
    mock_clock.jump(RETRY_SECONDS)
    assert (await limits.take("another")).remaining == BUCKET.requests - 1
    assert (await limits.take("another")).remaining == BUCKET.requests - 2
    assert limits.in_redis


@pytest.mark.parametrize("seed", range(20))
async def test_garbage_is_an_outage(
    limits: SharedLimits, proxy: RedisProxy, seed: int, mock_clock: MockClock
) -> None:
    proxy.dice.seed(seed)
    proxy.set(
        Fault(
            answer=proxy.dice.choice(b"+-:$*_,#%~>").to_bytes() + proxy.dice.randbytes(30) + b"\r\n"
        )
    )
    for _ in range(3):
        await limits.take()
        assert not limits.in_redis
        mock_clock.jump(RETRY_SECONDS)


async def test_an_answer_without_end_is_not_kept(
    client: RedisClient, proxy: RedisProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.store.redis.connection.MAX_BYTES", 1000)
    proxy.set(Fault(answer=b"$1000000000\r\n" + bytes(1001)))
    with pytest.raises(RedisAway) as refused:
        await get(client)
    assert "more than it was asked for" in str(refused.value.__cause__)


async def test_an_answer_that_is_followed_by_another_is_not_believed(
    client: RedisClient, proxy: RedisProxy
) -> None:
    proxy.set(Fault(extra=b"$5\r\nextra\r\n"))
    with pytest.raises(RedisAway):
        await get(client)


async def test_many_callers_wait_for_one_that_finds_out(
    client: RedisClient, proxy: RedisProxy, mock_clock: MockClock
) -> None:
    proxy.set(SILENT)
    with pytest.raises(RedisAway):
        await get(client)
    mock_clock.jump(RETRY_SECONDS)
    sent = len(proxy.commands)

    async def fail() -> None:
        with pytest.raises(RedisAway):
            await get(client)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(fail)
    assert len(proxy.commands) == sent + 1


async def test_calls_of_the_same_moment_share_a_connection_and_keep_their_answers(
    patient: None, proxy: RedisProxy
) -> None:
    answers: dict[int, bytes] = {}
    calls = range(redis_client.MAX_WAITING)

    async def ask(client: RedisClient, number: int) -> None:
        answers[number] = await client.ask(only, ("ECHO", number))

    async with open_redis(proxy.url) as client, trio.open_nursery() as nursery:
        assert client is not None
        for number in calls:
            nursery.start_soon(ask, client, number)
    assert answers == {number: str(number).encode() for number in calls}
    assert proxy.connections == 1


async def test_calls_beyond_the_bound_are_refused_at_once(
    client: RedisClient,
    proxy: RedisProxy,
    mock_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_client, "MAX_WAITING", 5)
    proxy.set(SILENT)
    causes: list[BaseException | None] = []

    async def fail() -> None:
        with pytest.raises(RedisAway) as refused:
            await get(client)
        causes.append(refused.value.__cause__)

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(fail)
    assert causes[:3] == [None] * 3  # refused before the others had an answer
    assert None not in causes[3:]


async def test_a_cancelled_caller_leaves_at_once_and_others_are_not_disturbed(
    client: RedisClient, proxy: RedisProxy, mock_clock: MockClock
) -> None:
    """The clock stands still: only the cancellation can end the wait."""
    assert await get(client) is None
    proxy.set(SLOW)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get, client)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    proxy.clear()
    assert await client.ask(only, ("ECHO", "mine")) == b"mine"  # not the lost answer


async def test_a_stuck_thread_costs_one_deadline_and_nothing_more(
    redis_server: RedisServer,
    proxy: RedisProxy,
    resolver: Resolver,
    mock_clock: MockClock,
) -> None:
    """The resolver has no deadline. The clock stands still, so a further wait would never end."""

    async def refused(client: RedisClient) -> None:
        with pytest.raises(RedisAway):
            await get(client)

    async with open_redis(proxy.url) as client:
        assert client is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, client)
            await trio.to_thread.run_sync(resolver.asked.wait)
            mock_clock.jump(redis_client.ANSWER_SECONDS)
        mock_clock.jump(10 * RETRY_SECONDS)
        for _ in range(100):
            await refused(client)
        resolver.released.set()


async def test_what_nobody_waits_for_any_more_is_not_sent(
    proxy: RedisProxy, resolver: Resolver, mock_clock: MockClock
) -> None:
    async with open_redis(proxy.url) as client:
        assert client is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, client)
            await trio.to_thread.run_sync(resolver.asked.wait)
            nursery.start_soon(client.ask, only, ("ECHO", "given up"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        resolver.released.set()
        assert await client.ask(only, ("ECHO", "wanted")) == b"wanted"
    assert proxy.commands.count(b"ECHO") == 1


async def test_a_failure_beside_successes_stops_the_next_calls_too(
    redis_server: RedisServer,
    proxy: RedisProxy,
    resolver: Resolver,
    mock_clock: MockClock,
) -> None:
    async def fail(client: RedisClient) -> None:
        with pytest.raises(RedisAway):
            await client.ask(only, ("GET", "list"))

    redis_server.client.lpush("list", "a")
    async with open_redis(proxy.url) as client:
        assert client is not None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(get, client)
            await trio.to_thread.run_sync(resolver.asked.wait)
            for call in (get, fail, get):
                nursery.start_soon(call, client)  # these share a pipeline
                await trio.testing.wait_all_tasks_blocked()
            resolver.released.set()
        sent = len(proxy.commands)
        with pytest.raises(RedisAway):
            await get(client)
        assert len(proxy.commands) == sent


async def test_the_end_does_not_wait_for_redis(proxy: RedisProxy, mock_clock: MockClock) -> None:
    """The clock stands still, so a wait for the thread would never end."""
    proxy.set(SILENT)
    async with trio.open_nursery() as nursery, open_redis(proxy.url) as client:
        assert client is not None
        nursery.start_soon(get, client)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


@pytest.mark.usefixtures("patient")
async def test_a_connection_that_was_closed_meanwhile_costs_no_call(
    redis_server: RedisServer,
) -> None:
    async with open_redis(redis_server.url) as client:
        assert client is not None
        assert await get(client) is None
        redis_server.kill()
        redis_server.start()
        assert await get(client) is None


async def test_a_redis_that_is_full_keeps_answering_reads(
    client: RedisClient, limits: SharedLimits, redis_server: RedisServer, mock_clock: MockClock
) -> None:
    await limits.take()
    redis_server.client.config_set("maxmemory-policy", "noeviction")
    redis_server.client.config_set("maxmemory", 1)
    await limits.take()  # refused: an outage
    assert not limits.in_redis
    mock_clock.jump(RETRY_SECONDS)
    assert await get(client) is None
    redis_server.client.config_set("maxmemory", 0)
    await limits.take()
    assert limits.in_redis


@pytest.mark.usefixtures("patient")
async def test_an_unknown_script_is_no_outage(client: RedisClient) -> None:
    with pytest.raises(ScriptUnknown):
        await client.ask(only, ("EVALSHA", "0" * 40, 0))
    assert await get(client) is None


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("scheme", ["unix", "redis"])
async def test_passwords_and_databases_of_the_url_are_used(
    redis_server: RedisServer, proxy: RedisProxy, scheme: str
) -> None:
    password = "a@b:c/d%20 e"
    login = f"{scheme}://:{quote(password, safe='')}@"
    redis_server.client.config_set("requirepass", password)
    path = redis_server.socket_path
    url = f"{login}{path}?db=3" if scheme == "unix" else f"{login}{proxy.url[8:]}/3"
    async with open_redis(url) as client:
        assert client is not None
        await client.ask(lambda replies: None, ("SET", "key", "here"))
    redis_server.client.auth(password)
    redis_server.client.select(3)
    assert redis_server.client.get("key") == b"here"


async def test_a_wrong_password_is_an_outage(redis_server: RedisServer, proxy: RedisProxy) -> None:
    redis_server.client.config_set("requirepass", "right")
    for login in ("", ":wrong@"):
        async with open_redis(f"redis://{login}{proxy.url[8:]}") as client:
            assert client is not None
            with pytest.raises(RedisAway):
                await get(client)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("suffix", ["", "?ssl_cert_reqs=none&ssl_check_hostname=0"])
@pytest.mark.parametrize(
    "certificate", [(True, "127.0.0.1"), (False, "127.0.0.1"), (True, "elsewhere")]
)
async def test_the_certificate_is_verified_whatever_the_url_says(
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
    certificate: tuple[bool, str],
) -> None:
    trusted, name = certificate
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(tls)
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with (
        redis_proxy(redis_server.socket_path, tls=tls) as proxy,
        open_redis(proxy.url + suffix) as client,
    ):
        assert client is not None
        if trusted and name == "127.0.0.1":
            assert await get(client) is None
        else:
            with pytest.raises(RedisAway) as refused:
                await get(client)
            assert "certificate verify failed" in str(refused.value.__cause__).lower()
