"""One address cannot take the connections or the places of the others, nor those of the probes."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import pairwise
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from trio.testing import MockClock

from cvms.config.connection_settings import ListenSettings
from cvms.http.framework import edge
from cvms.http.server import connection_pool, server
from cvms.http.server.connection_pool import REPORT_SECONDS, ConnectionPool
from cvms.metrics import Metrics
from tests.harness.free_ports import free_port
from tests.harness.service import Service, running
from tests.http.server.raw_requests import HANDSHAKE, HEALTH, ask, connected, refusals

THREE_EACH = ListenSettings(per_address=3)
HOLD = b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"
STRANGER = "127.0.0.2"


@dataclass(slots=True)
class Holding:
    """A route that does not answer until it is released."""

    entered: int = 0
    changed: trio.Event = field(default_factory=trio.Event)
    release: trio.Event = field(default_factory=trio.Event)

    async def answer(self) -> str:
        self.entered += 1
        self.changed.set()
        self.changed = trio.Event()
        await self.release.wait()
        return "done"

    async def until(self, count: int) -> None:
        with trio.fail_after(10):
            while self.entered < count:
                await self.changed.wait()


@asynccontextmanager
async def holding(database_url: str, **settings: Any) -> AsyncIterator[tuple[Service, Holding]]:
    """Run the service with a route that holds its requests for the block."""
    held = Holding()
    async with running(database_url, **settings) as service:
        service.app.add_url_rule("/hold", "hold", held.answer)
        try:
            yield service, held
        finally:
            held.release.set()


async def test_an_address_beyond_its_connections_loses_the_one_that_is_idle_longest(
    database_url: str,
) -> None:
    async with running(database_url, listening=THREE_EACH) as service, AsyncExitStack() as stack:
        streams = []
        for _ in range(5):
            streams.append(await stack.enter_async_context(connected(service, STRANGER)))
            assert b" 200 " in await ask(streams[-1])
        assert [b" 200 " in await ask(each) for each in streams] == [False, False, True, True, True]
        assert await refusals(service, "evicted") == 2


async def test_an_address_with_as_many_requests_as_connections_gets_no_more(
    database_url: str,
) -> None:
    async with (
        holding(database_url, listening=THREE_EACH) as (service, held),
        AsyncExitStack() as stack,
    ):
        streams = []
        for _ in range(3):
            streams.append(await stack.enter_async_context(connected(service, STRANGER)))
            await streams[-1].send_all(HOLD)
        await held.until(3)
        async with connected(service, STRANGER) as fourth:
            assert await ask(fourth) == b""
        async with connected(service) as other:
            assert b" 200 " in await ask(other)
        assert await refusals(service, "address") == 1
        held.release.set()
        for stream in streams:
            assert b" 200 " in await ask(stream, b"")
        async with connected(service, STRANGER) as again:
            assert b" 200 " in await ask(again)


async def test_a_trusted_proxy_has_any_number_of_connections(database_url: str) -> None:
    proxies = (ip_network(f"{STRANGER}/32"),)
    async with (
        holding(database_url, listening=THREE_EACH, trusted_proxies=proxies) as (service, held),
        AsyncExitStack() as stack,
    ):
        for count in range(1, 6):
            stream = await stack.enter_async_context(connected(service, STRANGER))
            await stream.send_all(HOLD)
            await held.until(count)


async def test_with_all_connections_open_a_new_client_takes_the_place_of_an_idle_one(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "connection_limit", lambda most: 4)
    async with holding(database_url) as (service, held), AsyncExitStack() as stack:
        for number in (2, 3):
            for _ in range(2):
                stream = await stack.enter_async_context(connected(service, f"127.0.0.{number}"))
                assert b" 200 " in await ask(stream)
        async with connected(service, "127.0.0.4") as new:
            assert b" 200 " in await ask(new)
            for _ in range(2):
                busy = await stack.enter_async_context(connected(service, "127.0.0.5"))
                await busy.send_all(HOLD)
            for _ in range(2):
                busy = await stack.enter_async_context(connected(service, "127.0.0.6"))
                await busy.send_all(HOLD)
            await held.until(4)
            async with connected(service, "127.0.0.7") as one_too_many:
                assert await ask(one_too_many) == b""
        held.release.set()
        assert await refusals(service, "total") == 1


async def test_websockets_leave_connections_for_requests(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "connection_limit", lambda most: 12)
    async with running(database_url) as service, AsyncExitStack() as stack:
        answers = []
        for number in range(11):
            stream = await stack.enter_async_context(connected(service, f"127.0.1.{number}"))
            answers.append((await ask(stream, HANDSHAKE % b"/ws"))[9:12])
        assert answers == [b"101"] * 9 + [b"503"] * 2
        assert await refusals(service, "websockets") == 2
        await stack.aclose()
        answer = b""
        with trio.fail_after(10):
            while b" 101 " not in answer:  # until the server has seen that the others are closed
                async with connected(service) as another:
                    answer = await ask(another, HANDSHAKE % b"/ws")


async def test_with_all_connections_open_those_with_the_most_make_room(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "connection_limit", lambda most: 5)
    monkeypatch.setattr(connection_pool, "CLOSED_AT_ONCE", 1)
    async with (
        running(database_url) as service,
        connected(service, "127.0.0.3") as idle,
        connected(service, "127.0.0.4") as incomplete,
        AsyncExitStack() as stack,
    ):
        assert b" 200 " in await ask(idle)
        await incomplete.send_all(HEALTH[:9])
        strangers = []
        for _ in range(10):
            strangers.append(await stack.enter_async_context(connected(service, STRANGER)))
            assert b" 200 " in await ask(strangers[-1])
        assert b" 200 " in await ask(idle)
        assert b" 200 " in await ask(incomplete, HEALTH[9:])


async def test_with_too_much_buffered_those_with_the_most_make_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_pool, "MAX_BUFFERED", 100)
    pool = ConnectionPool(total=9, per_address=9, refused=Metrics(CollectorRegistry()).http.refused)
    slow, proxied = Stub("127.0.0.3", waiting_since=1), Stub(None, waiting_since=2)
    strangers = [Stub(waiting_since=3), Stub(waiting_since=4)]
    for connection in (slow, proxied, *strangers):
        assert pool.admit(connection)
        pool.hold(connection, 30)
    assert [each.aborted for each in (slow, proxied, *strangers)] == [False, False, True, False]


async def test_one_address_cannot_take_all_places(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_IN_FLIGHT_OF_ADDRESS", 2)
    async with holding(database_url, max_in_flight=3) as (service, held), AsyncExitStack() as stack:
        for _ in range(2):
            stream = await stack.enter_async_context(connected(service, STRANGER))
            await stream.send_all(HOLD)
        await held.until(2)
        async with connected(service, STRANGER) as third:
            refused = await ask(third, HOLD)
            assert refused.startswith(b"HTTP/1.1 429 ")
            assert b"retry-after: 1" in refused.lower()
            assert b" 200 " in await ask(third)  # probes are always answered
        assert (await service.get("/api/vault/tvl")).status_code == 200
        assert (
            'cvms_requests_limited_total{scope="in_flight"} 1.0'
            in (await service.get("/metrics")).text
        )


async def test_behind_a_trusted_proxy_each_client_has_its_own_places(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_IN_FLIGHT_OF_ADDRESS", 1)
    proxies = (ip_network("127.0.0.0/8"),)
    async with (
        holding(database_url, trusted_proxies=proxies) as (service, held),
        connected(service) as first,
        connected(service) as second,
        connected(service) as third,
    ):
        for number, stream in enumerate((first, second), start=1):
            client = f"X-Forwarded-For: 192.0.2.{number}\r\n\r\n".encode()
            await stream.send_all(HOLD[:-2] + client)
            await held.until(number)
        refused = await ask(third, HOLD[:-2] + b"Forwarded: for=192.0.2.1\r\n\r\n")
        assert refused.startswith(b"HTTP/1.1 429 ")


async def test_probes_have_a_port_whose_connections_nobody_else_can_take(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "connection_limit", lambda most: 2)
    port = free_port()
    async with (
        holding(database_url, listening=ListenSettings(admin_port=port)) as (service, held),
        connected(service, STRANGER) as one,
        connected(service, "127.0.0.3") as other,
    ):
        for count, stream in enumerate((one, other), start=1):
            await stream.send_all(HOLD)
            await held.until(count)
        async with connected(service) as refused:
            assert await ask(refused) == b""
        async with connected(service, port=port) as probe:
            assert b" 200 " in await ask(probe)
            for path in (b"api/vault/tvl", b"docs", b"hold", b"nothing", b"/metrics"):
                assert b" 404 " in await ask(probe, HEALTH.replace(b"health", path)), path
            assert b" 404 " in await ask(probe, HANDSHAKE % b"/ws")
        async with connected(service, port=port) as scraper:  # which leaves most of the answer
            assert b" 200 " in await ask(scraper, HEALTH.replace(b"health", b"metrics"))


@dataclass(eq=False)
class Stub:
    """A connection that does nothing."""

    address: str | None = STRANGER
    waiting_since: float | None = None
    buffered: int = 0
    aborted: bool = False

    def finish(self) -> None: ...

    def abort(self) -> None:
        self.aborted = True


async def test_refusals_are_logged_in_one_line_a_second(autojump_clock: MockClock) -> None:
    refused = Metrics(CollectorRegistry()).http.refused
    pool = ConnectionPool(total=3, per_address=2, refused=refused)
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.report)
            admitted = [pool.admit(Stub()) for _ in range(22)]
            admitted += [pool.admit(Stub(f"127.0.1.{number}")) for number in range(5)]
            await trio.sleep(1.5 * REPORT_SECONDS)
            assert not pool.admit(Stub())
            await trio.sleep(10 * REPORT_SECONDS)
            nursery.cancel_scope.cancel()
    assert admitted.count(True) == 3
    assert [{**line} for line in logs] == [
        {"event": "connections_refused", "log_level": "warning", "open": 3, **counts}
        for counts in ({"address": 20, "total": 4}, {"address": 1})
    ]


async def test_connections_that_end_together_are_closed_one_by_one() -> None:
    """So that others run in between: each pass of the event loop closes one, here seen in pairs."""
    pool = ConnectionPool(total=1, per_address=1, refused=Metrics(CollectorRegistry()).http.refused)
    closed, passes = 0, [0]

    async def close() -> None:
        nonlocal closed
        await pool.wait_to_close()
        closed += 1

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(close)
        while closed < 100:
            await trio.lowlevel.checkpoint()
            passes.append(closed)
    assert max(after - before for before, after in pairwise(passes)) <= 2


@pytest.mark.parametrize("linger", [None, struct.pack("ii", 1, 0)], ids=["closed", "reset"])
async def test_a_connection_waits_for_its_turn_to_be_closed(
    database_url: str, monkeypatch: pytest.MonkeyPatch, linger: bytes | None
) -> None:
    waited = trio.Event()

    async def wait_to_close(_: ConnectionPool) -> None:
        waited.set()

    monkeypatch.setattr(ConnectionPool, "wait_to_close", wait_to_close)
    async with running(database_url) as service:
        async with connected(service) as stream:
            assert b" 200 " in await ask(stream)
            if linger is not None:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        with trio.fail_after(10):
            await waited.wait()
