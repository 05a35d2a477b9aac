"""`cvms serve --workers N`: several processes that share their listening sockets.

The parent opens the sockets and the workers inherit them, so that pending connections outlive any
worker. A socket pair connects each worker to the parent: once it serves, the worker writes to it
every few seconds. It is killed when it no longer does, and shuts down when the pair is closed.
SIGTERM and SIGINT end all workers in order; SIGHUP replaces them one after the other, each once its
successor is ready.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio

from cvms.chain.backoff import Backoff
from cvms.config.settings import Config
from cvms.errors import ConfigurationError
from cvms.http.server.listeners import open_socket
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.service_manager import ServiceManager
from cvms.nursery.supervision.supervisor import FIRST_DELAY, LONGEST_DELAY, STABLE_SECONDS
from cvms.nursery.supervision.worker_metrics import (
    MetricsGatherer,
    WorkerMetrics,
    open_channel,
)

log = structlog.get_logger(__name__)

READY_SECONDS = 60.0
KILL_SECONDS = 2.0
"""Beyond a worker's own deadline, before it is killed."""
HEARTBEAT_SECONDS = 2.0
LAST_WORDS_SECONDS = 1.0
"""After the end of a worker, in which whatever holds its sockets must close them."""
STUCK_SECONDS = 30.0
"""Without a heartbeat, after which a worker's event loop is taken to be stuck."""
SERVING, READY = b".", b"!"
"""Heartbeats: of a worker that accepts connections, and of one that has been ready too."""
COMMAND = (sys.executable, "-m", "cvms.cli", "serve")
METRICS_CHANNEL = "CVMS_METRICS_CHANNEL"
"""Environment variable with the file descriptor of a worker's end of the pair for metrics."""
BAD_SETTINGS = 2
"""Exit status of a worker that cannot work with its settings, its database or its chain."""


@dataclass(slots=True, eq=False)
class Worker:
    """A worker process, the parent's end of its socket pair, and its state."""

    process: trio.Process
    control: trio.SocketStream
    serving: trio.Event = field(default_factory=trio.Event)
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)
    ready_or_ended: trio.Event = field(default_factory=trio.Event)


class Workers:
    """Keeps `count` workers running on `listeners`; each may take `deadline` seconds to end."""

    def __init__(
        self,
        count: int,
        listeners: Sequence[socket.socket],
        *,
        deadline: float,
        service_manager: ServiceManager,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._command = command
        self._count = count
        self._listeners = listeners
        self._deadline = deadline
        self._manager = service_manager
        self._current: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._all_serve = trio.Event()
        self._stopping = trio.Event()
        self._started = False
        self._metrics = MetricsGatherer()
        self._replacing = trio.Lock()

    async def run(self) -> None:
        """Return once a signal to stop has arrived and every worker has ended.

        Raises ConfigurationError if a worker ends for bad settings before any was ready.
        """
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                for index in range(self._count):
                    nursery.start_soon(self._keep, index, nursery)
                async with trio.open_nursery() as until_stop:
                    until_stop.start_soon(self._keep_informed)
                    async for number in signals:
                        if number != signal.SIGHUP:
                            break
                        until_stop.start_soon(self._replace_all, nursery)
                    self._stopping.set()
                    self._manager.notify("STOPPING=1")
                    until_stop.cancel_scope.cancel()
                for worker in self._alive:
                    nursery.start_soon(self._end, worker)

    async def _keep_informed(self) -> None:
        """Tell the service manager that this process serves, from when every worker does."""
        await self._all_serve.wait()
        await self._manager.keep_informed(self._status)

    def _status(self) -> str:
        serving = sum(
            worker.serving.is_set() and not worker.ended.is_set()
            for worker in self._current.values()
        )
        return f"{serving} of {self._count} workers serve"

    async def _keep(self, index: int, nursery: trio.Nursery) -> None:
        """Run a worker, and start another whenever it ends by itself."""
        backoff = Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY)
        while not self._stopping.is_set():
            began = trio.current_time()
            await self._start_again(index, nursery)
            while not (worker := self._current[index]).ended.is_set():
                await worker.ended.wait()  # then its successor, if it was replaced
                if self._stopping.is_set():
                    return
                self._started |= any(each.ready.is_set() for each in (worker, *self._alive))
                if worker.process.returncode == BAD_SETTINGS and not self._started:
                    raise ConfigurationError("no worker can start; each has said why")
                if worker is self._current[index]:
                    if trio.current_time() - began >= STABLE_SECONDS:
                        backoff.reset()
                    await self._pause(worker, backoff.next())

    async def _start_again(self, index: int, nursery: trio.Nursery) -> None:
        """Start a worker, unless the one before is replaced meanwhile."""
        before = self._current.get(index)
        worker = await self._start(nursery)
        if self._current.get(index) is before:
            self._current[index] = worker
        else:
            await self._end(worker)

    async def _pause(self, worker: Worker, seconds: float) -> None:
        status = worker.process.returncode
        log.error("worker_ended", pid=worker.process.pid, status=status, restart_in=seconds)
        with trio.move_on_after(seconds):
            await self._stopping.wait()

    async def _replace_all(self, nursery: trio.Nursery) -> None:
        """Replace the workers in turn; a worker whose successor is not ready is kept.

        Whoever asks for it while another request waits is served by that one: it has yet to begin.
        """
        if self._replacing.statistics().tasks_waiting:
            return
        async with self._replacing:
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            self._manager.notify("RELOADING=1", f"MONOTONIC_USEC={now}")
            for index in range(self._count):
                await self._replace(index, nursery)
            self._manager.notify("READY=1")

    async def _replace(self, index: int, nursery: trio.Nursery) -> None:
        successor = await self._start(nursery)
        with trio.move_on_after(READY_SECONDS):
            await successor.ready_or_ended.wait()
        before = self._current[index]
        if not successor.ready.is_set() or successor.ended.is_set():
            log.error("successor_not_ready", pid=successor.process.pid, of=before.process.pid)
            await self._end(successor)
            return
        self._current[index] = successor
        await self._end(before)
        log.info("worker_replaced", pid=before.process.pid, by=successor.process.pid)

    async def _start(self, nursery: trio.Nursery) -> Worker:
        ours, theirs = socket.socketpair()
        metrics, their_metrics = socket.socketpair()
        with theirs, their_metrics:
            inherited = [each.fileno() for each in (theirs, *self._listeners)]
            process = await trio.lowlevel.open_process(
                [*self._command, "--inherit", ",".join(map(str, inherited))],
                stdin=subprocess.DEVNULL,
                # Not an argument: other releases would not know it.
                env=os.environ | {METRICS_CHANNEL: str(their_metrics.fileno())},
                pass_fds=[*inherited, their_metrics.fileno()],
                start_new_session=True,  # Ctrl-C reaches only the parent, which ends them
            )
        worker = Worker(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        self._alive.add(worker)
        nursery.start_soon(self._monitor, worker, metrics)
        if self._stopping.is_set():  # it was set while the process was made
            nursery.start_soon(self._end, worker)
        return worker

    async def _monitor(self, worker: Worker, metrics: socket.socket) -> None:
        """Record what the worker reports, and that it has ended."""
        async with worker.control, trio.open_nursery() as nursery:
            nursery.start_soon(self._receive_heartbeats, worker)
            nursery.start_soon(self._metrics.serve, metrics)
            await worker.process.wait()
            # What it has sent last is still to be read.
            nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS_SECONDS
        self._alive.discard(worker)
        worker.ended.set()
        worker.ready_or_ended.set()

    async def _receive_heartbeats(self, worker: Worker) -> None:
        """Record the worker's state. Kill the worker if it has reported one and no longer does."""
        with trio.CancelScope() as silence:
            async for heartbeats in worker.control:
                silence.deadline = trio.current_time() + STUCK_SECONDS
                worker.serving.set()
                if READY in heartbeats:
                    worker.ready.set()
                    worker.ready_or_ended.set()
                if len(self._current) == self._count and all(
                    each.serving.is_set() for each in self._current.values()
                ):
                    self._all_serve.set()
        if silence.cancelled_caught:
            log.error("worker_stuck", pid=worker.process.pid, silent_for=STUCK_SECONDS)
            worker.process.kill()

    async def _end(self, worker: Worker) -> None:
        worker.process.terminate()
        with trio.move_on_after(self._deadline + KILL_SECONDS):
            await worker.ended.wait()
        if not worker.ended.is_set():
            log.error("worker_killed", pid=worker.process.pid, after=self._deadline + KILL_SECONDS)
            worker.process.kill()
            await worker.ended.wait()


async def run_workers(config: Config, count: int, *, service_manager: ServiceManager) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT.

    Raises ConfigurationError if a port cannot be opened, or no worker can start.
    """
    with ExitStack() as opened:
        listeners = [
            opened.enter_context(open_socket(config.host, port, setting=name))
            for name, port in (("PORT", config.port), ("ADMIN_PORT", config.listening.admin_port))
            if port is not None
        ]
        ports = [each.getsockname()[1] for each in listeners]
        log.info("workers_starting", count=count, ports=ports)
        workers = Workers(
            count, listeners, deadline=config.shutdown_deadline, service_manager=service_manager
        )
        await workers.run()


async def serve_as_worker(
    config: Config,
    inherited: str,
    serve: Callable[..., Awaitable[None]],
    *,
    metrics_channel: int | None = None,
) -> None:
    """Run `serve` as one of the workers.

    `inherited` holds file descriptors: those of the worker's end of its socket pair, of the
    listening socket, and of the one for probes if there is one. `metrics_channel` is that of the
    worker's end of the pair for metrics, None if the parent is of a release without it.
    """
    ours, *listeners = (socket.socket(fileno=int(number)) for number in inherited.split(","))
    board, shutdown = StatusBoard(), trio.Event()
    control = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def send_heartbeats() -> None:
        with suppress(trio.BrokenResourceError):  # the parent is gone, which ends this worker
            while True:
                ready = board.was_ready.is_set()
                await control.send_all(READY if ready else SERVING)
                if ready:
                    await trio.sleep(HEARTBEAT_SECONDS)
                else:
                    with trio.move_on_after(HEARTBEAT_SECONDS):
                        await board.was_ready.wait()

    async def stop_with_parent() -> None:
        with suppress(trio.BrokenResourceError):
            await control.receive_some(1)
        shutdown.set()

    metrics = Metrics()
    async with control, trio.open_nursery() as nursery:
        nursery.start_soon(stop_with_parent)
        if metrics_channel is not None:
            shared = WorkerMetrics(open_channel(socket.socket(fileno=metrics_channel)))
            metrics = shared.metrics
            nursery.start_soon(shared.run)
        async with trio.open_nursery() as serving:
            await serving.start(
                partial(
                    serve,
                    config,
                    listener=listeners[0],
                    admin_listener=listeners[1] if len(listeners) > 1 else None,
                    board=board,
                    metrics=metrics,
                    shutdown=shutdown,
                )
            )
            nursery.start_soon(send_heartbeats)
        nursery.cancel_scope.cancel()
