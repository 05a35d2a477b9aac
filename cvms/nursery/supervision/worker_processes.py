"""`cvms serve --workers N`: several processes that share their listening sockets.

The parent opens the sockets and the workers inherit them, so that pending connections outlive any
worker. A socket pair connects each worker to the parent: the worker writes to it once it is ready,
and shuts down when it is closed. SIGTERM and SIGINT end all workers in order; SIGHUP replaces them
one after the other, each once its successor is ready.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import structlog
import trio

from cvms.chain.backoff import Backoff
from cvms.config.settings import Config
from cvms.http.server.listeners import open_socket
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.supervisor import FIRST_DELAY, LONGEST_DELAY, STABLE_SECONDS

log = structlog.get_logger(__name__)

READY_SECONDS = 60.0
KILL_SECONDS = 2.0
"""Beyond a worker's own deadline, before it is killed."""
READY = b"ready"


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process, the parent's end of its socket pair, and its state."""

    process: trio.Process
    control: trio.SocketStream
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


class Workers:
    """Keeps `count` workers running on `listeners`; each may take `deadline` seconds to end."""

    def __init__(self, count: int, listeners: Sequence[socket.socket], *, deadline: float) -> None:
        self._count = count
        self._listeners = listeners
        self._deadline = deadline
        self._current: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._stopping = trio.Event()
        self._replacing = trio.Lock()

    async def run(self) -> None:
        """Return once a signal to stop has arrived and every worker has ended."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                replacing: list[trio.CancelScope] = []
                for index in range(self._count):
                    nursery.start_soon(self._keep, index, nursery)
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    replacing.append(trio.CancelScope())
                    nursery.start_soon(self._replace_all, nursery, replacing[-1])
                self._stopping.set()
                for scope in replacing:
                    scope.cancel()
                for worker in self._alive:
                    nursery.start_soon(self._end, worker)

    async def _keep(self, index: int, nursery: trio.Nursery) -> None:
        """Run a worker, and start another whenever it ends by itself."""
        backoff = Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY)
        while not self._stopping.is_set():
            began = trio.current_time()
            self._current[index] = await self._start(nursery)
            while not (worker := self._current[index]).ended.is_set():
                await worker.ended.wait()  # then its successor, if it was replaced
                if self._stopping.is_set():
                    return
                if worker is self._current[index]:
                    if trio.current_time() - began >= STABLE_SECONDS:
                        backoff.reset()
                    await self._pause(worker, backoff.next())

    async def _pause(self, worker: Worker, seconds: float) -> None:
        status = worker.process.returncode
        log.error("worker_ended", pid=worker.process.pid, status=status, restart_in=seconds)
        with trio.move_on_after(seconds):
            await self._stopping.wait()

    async def _replace_all(self, nursery: trio.Nursery, scope: trio.CancelScope) -> None:
        """Replace the workers in turn; a worker whose successor is not ready is kept."""
        with scope:
            async with self._replacing:
                for index in range(self._count):
                    await self._replace(index, nursery)

    async def _replace(self, index: int, nursery: trio.Nursery) -> None:
        successor = await self._start(nursery)
        with trio.move_on_after(READY_SECONDS):
            await successor.ready.wait()
        before = self._current[index]
        if not successor.ready.is_set():
            log.error("successor_not_ready", pid=successor.process.pid, of=before.process.pid)
            await self._end(successor)
            return
        self._current[index] = successor
        await self._end(before)
        log.info("worker_replaced", pid=before.process.pid, by=successor.process.pid)

    async def _start(self, nursery: trio.Nursery) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", "cvms.cli", "serve")
            inherited = [each.fileno() for each in (theirs, *self._listeners)]
            process = await trio.lowlevel.open_process(
                [*command, "--inherit", ",".join(map(str, inherited))],
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C reaches only the parent, which ends them
            )
        worker = Worker(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        self._alive.add(worker)
        nursery.start_soon(self._monitor, worker)
        return worker

    async def _monitor(self, worker: Worker) -> None:
        """Record that the worker is ready, and that it has ended."""
        async with worker.control, trio.open_nursery() as nursery:
            nursery.start_soon(_wait_until_ready, worker)
            await worker.process.wait()
            nursery.cancel_scope.cancel()
        self._alive.discard(worker)
        worker.ended.set()

    async def _end(self, worker: Worker) -> None:
        worker.process.terminate()
        with trio.move_on_after(self._deadline + KILL_SECONDS):
            await worker.ended.wait()
        if not worker.ended.is_set():
            log.error("worker_killed", pid=worker.process.pid, after=self._deadline + KILL_SECONDS)
            worker.process.kill()
            await worker.ended.wait()


async def _wait_until_ready(worker: Worker) -> None:
    received = b""
    async for data in worker.control:
        received += data
        if READY in received:
            worker.ready.set()
            return


async def run_workers(config: Config, count: int) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT.

    Raises ConfigurationError if a port cannot be opened.
    """
    with ExitStack() as opened:
        listeners = [
            opened.enter_context(open_socket(config.host, port, setting=name))
            for name, port in (("PORT", config.port), ("ADMIN_PORT", config.listening.admin_port))
            if port is not None
        ]
        ports = [each.getsockname()[1] for each in listeners]
        log.info("workers_starting", count=count, ports=ports)
        await Workers(count, listeners, deadline=config.shutdown_deadline).run()


async def serve_as_worker(
    config: Config, inherited: str, serve: Callable[..., Awaitable[None]]
) -> None:
    """Run `serve` as one of the workers.

    `inherited` holds file descriptors: those of the worker's end of its socket pair, of the
    listening socket, and of the one for probes if there is one.
    """
    ours, *listeners = (socket.socket(fileno=int(number)) for number in inherited.split(","))
    board, shutdown = StatusBoard(), trio.Event()
    control = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def report_ready() -> None:
        await board.was_ready.wait()
        with suppress(trio.BrokenResourceError):  # the parent is gone, which ends this worker
            await control.send_all(READY)

    async def stop_with_parent() -> None:
        with suppress(trio.BrokenResourceError):
            await control.receive_some(1)
        shutdown.set()

    async with control, trio.open_nursery() as nursery:
        nursery.start_soon(report_ready)
        nursery.start_soon(stop_with_parent)
        await serve(
            config,
            listener=listeners[0],
            admin_listener=listeners[1] if len(listeners) > 1 else None,
            board=board,
            shutdown=shutdown,
        )
        nursery.cancel_scope.cancel()
