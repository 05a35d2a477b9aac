"""`cvms serve --workers N`: several processes on one listening socket, as one service.

The socket is opened here and inherited, so that a connection waits in it whichever worker ends.
Each worker has a line to this process: it says on it when it is ready, and ends when the line does.
SIGTERM and SIGINT have all of them finish what they do; SIGHUP replaces one after the other, each
only once its successor is ready.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog
import trio

from cvms.chain.backoff import Backoff
from cvms.config.settings import Config
from cvms.errors import ConfigurationError
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.supervision.supervisor import FIRST_DELAY, LONGEST_DELAY, STABLE_SECONDS

log = structlog.get_logger(__name__)

BACKLOG = 1024
READY_SECONDS = 60.0
KILL_SECONDS = 2.0
"""Beyond a worker's own deadline, for one that does not end by itself."""
READY = b"ready"


@dataclass(slots=True, eq=False)
class Worker:
    """A process, the line to it, and what became of it."""

    process: trio.Process
    line: trio.SocketStream
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


class Workers:
    """Keeps `count` workers running on `listener`. `deadline`: how long one may take to finish."""

    def __init__(self, count: int, listener: socket.socket, *, deadline: float) -> None:
        self._count = count
        self._listener = listener
        self._deadline = deadline
        self._current: dict[int, Worker] = {}
        self._alive: set[Worker] = set()
        self._stopping = trio.Event()
        self._replacing = trio.Lock()

    async def run(self) -> None:
        """Return once a signal to stop has come and every worker has ended."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        with trio.open_signal_receiver(*numbers) as signals:
            async with trio.open_nursery() as nursery:
                replacing = trio.CancelScope()
                for place in range(self._count):
                    nursery.start_soon(self._keep, place, nursery)
                async for number in signals:
                    if number != signal.SIGHUP:
                        break
                    nursery.start_soon(self._replace_all, nursery, replacing)
                self._stopping.set()
                replacing.cancel()
                for worker in self._alive:
                    nursery.start_soon(self._end, worker)

    async def _keep(self, place: int, nursery: trio.Nursery) -> None:
        """Run a worker in this place, and another when it ends by itself."""
        backoff = Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY)
        while not self._stopping.is_set():
            began = trio.current_time()
            self._current[place] = await self._start(nursery)
            while not (worker := self._current[place]).ended.is_set():
                await worker.ended.wait()  # then its successor's, if it was replaced
                if self._stopping.is_set():
                    return
                if worker is self._current[place]:
                    if trio.current_time() - began >= STABLE_SECONDS:
                        backoff.reset()
                    await self._pause(worker, backoff.next())

    async def _pause(self, worker: Worker, seconds: float) -> None:
        status = worker.process.returncode
        log.error("worker_ended", pid=worker.process.pid, status=status, restart_in=seconds)
        with trio.move_on_after(seconds):
            await self._stopping.wait()

    async def _replace_all(self, nursery: trio.Nursery, scope: trio.CancelScope) -> None:
        """One after the other. Who has no successor that is ready goes on."""
        with scope:
            async with self._replacing:
                for place in range(self._count):
                    await self._replace(place, nursery)

    async def _replace(self, place: int, nursery: trio.Nursery) -> None:
        successor = await self._start(nursery)
        with trio.move_on_after(READY_SECONDS):
            await successor.ready.wait()
        before = self._current[place]
        if not successor.ready.is_set():
            log.error("successor_not_ready", pid=successor.process.pid, of=before.process.pid)
            await self._end(successor)
            return
        self._current[place] = successor
        await self._end(before)
        log.info("worker_replaced", pid=before.process.pid, by=successor.process.pid)

    async def _start(self, nursery: trio.Nursery) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            command = (sys.executable, "-m", "cvms.cli", "serve")
            inherited = (self._listener.fileno(), theirs.fileno())
            process = await trio.lowlevel.open_process(
                [*command, "--inherit", ",".join(map(str, inherited))],
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                start_new_session=True,  # Ctrl-C is for this process, which tells them
            )
        worker = Worker(process, trio.SocketStream(trio.socket.from_stdlib_socket(ours)))
        self._alive.add(worker)
        nursery.start_soon(self._tend, worker)
        return worker

    async def _tend(self, worker: Worker) -> None:
        """Listen to the worker until it has ended."""
        async with worker.line, trio.open_nursery() as nursery:
            nursery.start_soon(_hear, worker)
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


async def _hear(worker: Worker) -> None:
    heard = b""
    async for data in worker.line:
        heard += data
        if READY in heard:
            worker.ready.set()
            return


async def run_workers(config: Config, count: int) -> None:
    """Serve with `count` processes until SIGTERM or SIGINT. Raises ConfigurationError."""
    try:
        listener = socket.create_server((config.host, config.port), backlog=BACKLOG)
    except OSError as error:
        raise ConfigurationError(
            f"PORT holds {config.port} and HOST {config.host}, where it cannot listen "
            f"({error.strerror or error}); expected a free port of this machine"
        ) from error
    with listener:
        log.info("workers_starting", count=count, port=listener.getsockname()[1])
        await Workers(count, listener, deadline=config.shutdown_deadline).run()


async def serve_as_worker(
    config: Config, inherited: str, serve: Callable[..., Awaitable[None]]
) -> None:
    """Run `serve` as one of the workers: `inherited` names the descriptors of socket and line."""
    listener, ours = (socket.socket(fileno=int(number)) for number in inherited.split(","))
    board, shutdown = StatusBoard(), trio.Event()
    line = trio.SocketStream(trio.socket.from_stdlib_socket(ours))

    async def say_ready() -> None:
        await board.was_ready.wait()
        await line.send_all(READY)

    async def hear_the_end() -> None:
        await line.receive_some(1)
        shutdown.set()

    async with line, trio.open_nursery() as nursery:
        nursery.start_soon(say_ready)
        nursery.start_soon(hear_the_end)
        await serve(config, listener=listener, board=board, shutdown=shutdown)
        nursery.cancel_scope.cancel()
