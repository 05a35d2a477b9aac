"""A worker process ends in order with its parent, whenever that is killed."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from cvms.config.settings import Config
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.service_manager import service_manager_of
from cvms.nursery.supervision.worker_processes import Workers, serve_as_worker
from tests.harness.resources import config_for_tests


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
