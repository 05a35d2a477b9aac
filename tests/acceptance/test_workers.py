"""`cvms serve --workers`: several processes act as one service, which survives the loss of one."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import psutil
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection

from tests.acceptance.conftest import System
from tests.harness.processes import HANG_SECONDS, Command, cvms, until_ready
from tests.websockets import opened as opened_websocket

pytestmark = pytest.mark.slow

LEAST_ANSWERS = 50
BROKEN = 0
"""In the place of its status: a request that got no answer."""


async def test_a_killed_worker_is_replaced_and_other_requests_succeed(system: System) -> None:
    async with workers(system) as service, load(system.at.url) as answers:
        before = pids(service)
        psutil.Process(before[0]).kill()
        await until(lambda: not set(pids(service)) <= set(before))
        await until_ready(system.at.url, service)
    # The killed worker's in-flight requests are lost; all others are answered.
    assert set(answers) <= {200, BROKEN}
    assert answers.count(BROKEN) <= 4


async def test_sighup_replaces_all_workers_and_loses_no_request(system: System) -> None:
    async with workers(system) as service, load(system.at.url) as answers:
        before = pids(service)
        service.process.send_signal(signal.SIGHUP)
        await until(lambda: not set(pids(service)) & set(before) and len(pids(service)) == 2)
    assert set(answers) == {200}
    started, ended = "http_listening", "shutdown_requested"
    events = [json.loads(line)["event"] for line in service.log().splitlines()]
    # No worker ends before its successor listens, and one after the other.
    in_order = [event for event in events if event in (started, ended)]
    assert in_order[:6] == [started, started, started, ended, started, ended]


async def test_all_workers_exit_with_their_parent(system: System) -> None:
    """They end with it both after a signal and after its death."""
    async with workers(system) as service:
        before = pids(service)
        assert await service.stop(within=10) == 0
        assert not any(psutil.pid_exists(pid) for pid in before)
    async with workers(system) as service:
        before = pids(service)
        await service.kill()
        await until(lambda: not any(psutil.pid_exists(pid) for pid in before))


async def test_a_scrape_of_any_worker_shows_all_of_them(system: System) -> None:
    """Counters go on when a worker dies, and its gauges end with it."""
    requests = 'cvms_http_requests_total{method="GET",route="/health",status="2xx"}'
    clients = "cvms_websocket_clients"
    socket_url = system.at.url.replace("http", "ws") + "/ws"
    async with workers(system) as service, AsyncExitStack() as opened:
        await ask_often(system.at.url, "/health", 12)
        sockets = [await opened.enter_async_context(opened_websocket(socket_url)) for _ in range(8)]
        before = pids(service)
        for _ in range(8):  # by whichever worker accepts the connection
            values = await scrape(system.at.url)
            assert (values[requests], values[clients], values["cvms_leader"]) == (12, 8, 1)
            assert values['cvms_log_lines_total{level="info"}'] > 0
        psutil.Process(before[0]).kill()
        await until(lambda: len(pids(service)) == 2 and set(pids(service)) != set(before))
        values = await scrape(system.at.url)
        assert values[requests] == 12
        assert values[clients] == sum([await is_open(each) for each in sockets])
        await ask_often(system.at.url, "/health", 3)
        assert (await scrape(system.at.url))[requests] == 15


@asynccontextmanager
async def workers(system: System) -> AsyncIterator[Command]:
    """Run two workers and wait until both serve and one is ready."""
    arguments = ("serve", "--workers", "2")
    # The load comes from one address.
    environ = {**system.environ, "RATE_LIMIT_ADDRESS": "off"}
    async with cvms(*arguments, folder=system.folder, environ=environ) as service:
        await until_ready(system.at.url, service)
        await until(lambda: service.log().count('"http_listening"') == 2)
        yield service


async def until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds. Other processes offer nothing to wait on."""
    with trio.fail_after(HANG_SECONDS):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


def pids(service: Command) -> list[int]:
    children = psutil.Process(service.process.pid).children()
    return [child.pid for child in children if _runs(child)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended since it was listed
        return False


async def ask_often(url: str, path: str, count: int) -> None:
    """Make requests, each on a new connection."""
    for _ in range(count):
        async with httpx.AsyncClient(timeout=30) as http:
            assert (await http.get(url + path)).status_code == 200


async def scrape(url: str) -> dict[str, float]:
    """Return the values on a new connection, by name and labels."""
    async with httpx.AsyncClient(timeout=30) as http:
        lines = (await http.get(f"{url}/metrics")).text.splitlines()
    values = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in values}


async def is_open(client: WebSocketConnection) -> bool:
    """Return whether the service answers on a WebSocket."""
    try:
        await client.ping()
    except ConnectionClosed:
        return False
    return True


@asynccontextmanager
async def load(url: str) -> AsyncIterator[list[int]]:
    """Run four clients that send one request after another, each on a new connection.

    Yields the list of their statuses.
    """
    answers: list[int] = []
    stop = trio.Event()

    async def ask() -> None:
        while not stop.is_set() or len(answers) < LEAST_ANSWERS:
            try:
                answers.append((await http.get(f"{url}/api/vault/tvl")).status_code)
            except httpx.TransportError:
                answers.append(BROKEN)

    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=30, limits=limits) as http, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
        yield answers
        stop.set()
