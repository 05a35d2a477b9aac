"""`cvms serve --workers`: several processes as one service, none of them missed."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
import trio

from tests.acceptance.conftest import System
from tests.acceptance.processes import Command, cvms, until_ready

pytestmark = pytest.mark.slow

LEAST_ANSWERS = 50


async def test_a_worker_that_is_killed_is_replaced_and_nobody_notices(system: System) -> None:
    async with workers(system) as service, load(system.at.url) as answers:
        before = pids(service)
        psutil.Process(before[0]).kill()
        await until(lambda: not set(pids(service)) <= set(before))
        await until_ready(system.at.url, service)
    # Its own requests under way are lost with it; all others are answered.
    assert set(answers) <= {200, 0}
    assert answers.count(0) <= 4


async def test_a_hangup_replaces_all_workers_and_no_request_is_lost(system: System) -> None:
    async with workers(system) as service, load(system.at.url) as answers:
        before = pids(service)
        service.process.send_signal(signal.SIGHUP)
        await until(lambda: not set(pids(service)) & set(before) and len(pids(service)) == 2)
    assert set(answers) == {200}


async def test_all_workers_end_with_the_one_that_started_them(system: System) -> None:
    """By its signal in order; by its death as well."""
    async with workers(system) as service:
        before = pids(service)
        assert await service.stop(within=10) == 0
        assert not any(psutil.pid_exists(pid) for pid in before)
    async with workers(system) as service:
        before = pids(service)
        await service.kill()
        await until(lambda: not any(psutil.pid_exists(pid) for pid in before))


@asynccontextmanager
async def workers(system: System) -> AsyncIterator[Command]:
    """Two of them, both ready."""
    arguments = ("serve", "--workers", "2")
    async with cvms(*arguments, folder=system.folder, environ=system.environ) as service:
        await until_ready(system.at.url, service)
        await until(lambda: len(pids(service)) == 2)
        yield service


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds. Processes have no other way to be asked."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.05)


def pids(service: Command) -> list[int]:
    children = psutil.Process(service.process.pid).children()
    return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


@asynccontextmanager
async def load(url: str) -> AsyncIterator[list[int]]:
    """Four clients, each asking one thing after the other on a connection of its own; the statuses
    of their answers, 0 for a connection that broke.
    """
    answers: list[int] = []
    stop = trio.Event()

    async def ask() -> None:
        while not stop.is_set() or len(answers) < LEAST_ANSWERS:
            try:
                answers.append((await http.get(f"{url}/api/vault/tvl")).status_code)
            except httpx.TransportError:
                answers.append(0)

    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=30, limits=limits) as http, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask)
        yield answers
        stop.set()
