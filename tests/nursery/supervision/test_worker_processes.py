"""Workers end in order with their parent, and are replaced without one too many or too few."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs
from trio.testing import wait_all_tasks_blocked

from cvms.config.settings import Config
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.service_manager import service_manager_of
from cvms.nursery.supervision.worker_processes import BAD_SETTINGS, Workers, serve_as_worker
from tests.harness.processes import HANG_SECONDS, cvms
from tests.harness.resources import config_for_tests
from tests.nursery.supervision.test_service_manager import environ_of

WORKER = """
import os, sys
from pathlib import Path
conduct = Path(sys.argv[1]).read_text()
if conduct == "end for bad settings":
    sys.exit(2)
parent = int(sys.argv[-1].split(",")[0])
os.write(parent, b"!")
with open(sys.argv[1] + ".ready", "a") as file:
    print(os.getpid(), file=file)
os.read(parent, 1)
"""
"""A program in the place of a worker, which behaves as a file says when it starts."""


async def test_a_worker_that_is_ready_after_its_parent_was_killed_ends_in_order() -> None:
    parent, worker = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    ended = []

    async def serve(_: Config, *, board: StatusBoard, shutdown: trio.Event, **rest: Any) -> None:
        parent.close()
        for component in board.components:
            board.set_component(component, ok=True, detail="fine")
        rest["task_status"].started()
        await shutdown.wait()
        ended.append("in order")
        rest["listener"].close()

    inherited = f"{worker.detach()},{listener.detach()}"
    with trio.fail_after(10):
        await serve_as_worker(config_for_tests("postgresql://nowhere/"), inherited, serve)
    assert ended == ["in order"]


async def test_the_workers_can_be_replaced_more_than_once() -> None:
    workers = Workers(0, [], deadline=1, service_manager=service_manager_of({}))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(workers.run)
            for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
                await wait_all_tasks_blocked()
                os.kill(os.getpid(), number)


class Parent:
    """Runs workers of the program WORKER in this process."""

    def __init__(self, conduct: Path, count: int) -> None:
        self._conduct = conduct
        self._command = (sys.executable, "-c", WORKER, str(conduct))
        self.workers = Workers(
            count, [], deadline=5, service_manager=service_manager_of({}), command=self._command
        )

    def let_the_next(self, conduct: str) -> None:
        self._conduct.write_text(conduct)

    def pids(self) -> set[int]:
        found = [each for each in psutil.Process().children() if WORKER in _arguments(each)]
        return {each.pid for each in found}

    async def until_ready(self, count: int) -> set[int]:
        """Wait until so many workers are there, and all of them are ready; return their pids."""
        ready = self._conduct.with_name(f"{self._conduct.name}.ready")
        await self.until(
            lambda: (
                len(self.pids()) == count
                and ready.exists()
                and self.pids() <= {*map(int, ready.read_text().split())}
            )
        )
        return self.pids()

    async def until(self, condition: Callable[[], bool]) -> None:
        with trio.fail_after(HANG_SECONDS):
            while not condition():  # noqa: ASYNC110 - other processes offer nothing to wait on
                await trio.sleep(0.01)


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


@asynccontextmanager
async def parent(tmp_path: Path, conduct: str, *, count: int = 1) -> AsyncIterator[Parent]:
    running = Parent(tmp_path / "conduct", count)
    running.let_the_next(conduct)
    with trio.fail_after(HANG_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(running.workers.run)
            await wait_all_tasks_blocked()
            yield running
            os.kill(os.getpid(), signal.SIGTERM)
    assert running.pids() == set()


async def test_a_signal_to_stop_ends_workers_that_are_being_started(tmp_path: Path) -> None:
    for _ in range(5):
        async with parent(tmp_path, "serve", count=3):
            pass


async def test_a_successor_that_ends_is_not_waited_for(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with parent(tmp_path, "serve") as running:
            before = await running.until_ready(1)
            running.let_the_next("end for bad settings")
            os.kill(os.getpid(), signal.SIGHUP)
            with trio.fail_after(30):
                await running.until(
                    lambda: "successor_not_ready" in {each["event"] for each in logs}
                )
            assert running.pids() == before


async def test_signals_during_a_replacement_ask_for_one_more(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with parent(tmp_path, "serve", count=2) as running:
            await running.until_ready(2)
            for _ in range(5):
                os.kill(os.getpid(), signal.SIGHUP)
                await wait_all_tasks_blocked()
            await running.until(lambda: _replaced(logs) == 4)
            before = running.pids()
            os.kill(os.getpid(), signal.SIGHUP)
            await running.until(lambda: _replaced(logs) == 6)
            assert not before & running.pids()
    assert _replaced(logs) == 6


def _replaced(logs: list[Any]) -> int:
    return sum(each["event"] == "worker_replaced" for each in logs)


async def test_workers_without_a_schema_end_with_the_reason_of_a_single_process(
    empty_database_url: str, tmp_path: Path
) -> None:
    environ = environ_of(empty_database_url, Keypair()) | {"MIGRATE": "off"}
    said = []
    arguments: tuple[str, ...]
    for arguments in ((), ("--workers", "2")):
        async with cvms("serve", *arguments, folder=tmp_path, environ=environ) as service:
            with trio.fail_after(HANG_SECONDS):
                assert await service.process.wait() == BAD_SETTINGS
            said.append(service.log())
    assert all("cvms migrate" in each for each in said)
