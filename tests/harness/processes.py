"""Real processes: start, watch, stop and kill the service and other `cvms` commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import psutil
import trio

from tests.paths import ROOT

HANG_SECONDS = 300.0
"""After which a wait for another process fails. It only ends a test that would never end: no
outcome depends on how fast the machine is.
"""

COMPONENTS = ("database", "rpc", "indexer")
"""What a server needs to work again after a crash loop, which /ready reports for a minute more."""


# --- any command ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Command:
    """A running `cvms` command and the output it has printed so far."""

    process: trio.Process
    errors: Path
    printed: list[str] = field(default_factory=list)
    grown: trio.Event = field(default_factory=trio.Event)

    async def line(self, start: str) -> str:
        """Wait for a printed line that begins with `start` and return the rest of it."""
        with trio.fail_after(HANG_SECONDS):
            while True:
                for line in self.printed:
                    if line.startswith(start):
                        return line.removeprefix(start).split()[0]
                if self.ended():
                    raise AssertionError(f"ended early: {self.printed} {self.log()}")
                await self.grown.wait()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def log(self) -> str:
        """Return what the command has written to standard error."""
        return self.errors.read_text()

    async def kill(self) -> None:
        """Send SIGKILL and wait until the process has exited."""
        self.process.kill()
        await self.process.wait()

    async def stop(self, number: int = signal.SIGTERM, *, within: float = 5.0) -> int:
        """Send a signal, wait for the process to exit and return its exit status."""
        self.process.send_signal(number)
        with trio.fail_after(within):
            return await self.process.wait()


@asynccontextmanager
async def cvms(
    *arguments: str, folder: Path, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Command]:
    """Run `cvms` with `arguments` in `folder`, and terminate it on exit if it still runs."""
    errors = folder / f"stderr-{arguments[0]}-{os.urandom(4).hex()}"
    async with trio.open_nursery() as nursery:
        with errors.open("w") as stderr:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "cvms.cli", *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                cwd=folder,
                env=dict(os.environ) | dict(environ or {}),
            )
        command = Command(process, errors)
        nursery.start_soon(_read, command)
        try:
            yield command
        finally:
            with trio.CancelScope(shield=True):
                # SIGTERM first: `cvms dev` would leave its database running after SIGKILL.
                with trio.move_on_after(10):
                    command.process.terminate()
                    await command.process.wait()
                await command.kill()
            nursery.cancel_scope.cancel()


async def _read(command: Command) -> None:
    assert command.process.stdout is not None
    rest = ""
    async for chunk in command.process.stdout:
        *lines, rest = (rest + bytes(chunk).decode()).split("\n")
        command.printed += lines
        command.grown.set()
        command.grown = trio.Event()
    command.grown.set()


# --- the service ---------------------------------------------------------------------------------


@dataclass(slots=True)
class ServerForker:
    """The process that servers are forked from. Tasks of one test may use it at once."""

    process: subprocess.Popen[bytes]
    statuses: dict[int, int] = field(default_factory=dict)
    _started: list[int] = field(default_factory=list)
    _starting: trio.Lock = field(default_factory=trio.Lock)
    _reading: trio.Lock = field(default_factory=trio.Lock)
    _lines: int = 0
    _buffer: bytes = b""

    async def start(self, folder: Path, environ: Mapping[str, str]) -> int:
        """Start a server, and return its process id."""
        assert self.process.stdin is not None
        request = json.dumps({"folder": str(folder), "environ": dict(environ)})
        async with self._starting:
            # Shielded, or the next start would get this one's answer.
            with trio.fail_after(HANG_SECONDS) as scope:
                scope.shield = True
                self.process.stdin.write(request.encode() + b"\n")
                self.process.stdin.flush()
                while not self._started:
                    await self._read_line()
            return self._started.pop()

    async def exit_status(self, pid: int) -> int:
        """Wait until a server has ended, and return its status, which is negative for a signal."""
        while pid not in self.statuses:
            await self._read_line()
        return self.statuses[pid]

    async def _read_line(self) -> None:
        """Take in the next line, or wait until another task has taken one in."""
        assert self.process.stdout is not None
        lines = self._lines
        async with self._reading:
            if self._lines != lines:
                return
            while b"\n" not in self._buffer:
                await trio.lowlevel.wait_readable(self.process.stdout)
                if not (got := os.read(self.process.stdout.fileno(), 4096)):
                    raise AssertionError("the server forker has ended")
                self._buffer += got
            line, self._buffer = self._buffer.split(b"\n", 1)
            self._lines += 1
        word, pid, *status = line.decode().split()
        if word == "started":
            self._started.append(int(pid))
        else:
            self.statuses[int(pid)] = int(status[0])


@contextmanager
def server_forker() -> Iterator[ServerForker]:
    """Start the forker. It ends, with all of its servers, at the end of the block."""
    command = [sys.executable, "-m", "tests.harness.server_forker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=ROOT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise AssertionError("the server forker did not start")
            yield ServerForker(process)
        finally:
            process.stdin.close()


@dataclass(slots=True)
class Server:
    """`cvms serve` with its settings. It can be killed and started any number of times."""

    forker: ServerForker
    folder: Path
    environ: Mapping[str, str]
    pid: int | None = None
    kills: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environ['PORT']}"

    async def start(self) -> None:
        self.pid = await self.forker.start(self.folder, self.environ)

    async def kill(self) -> None:
        """Kill the server with -9, and wait until it has ended."""
        self.send_signal(signal.SIGKILL)
        self.kills += 1
        status = await self.wait()
        assert status == -signal.SIGKILL, f"the server had ended with {status}: {self.log()}"

    async def stop(self, *, within: float = 5.0) -> int:
        """Stop the server with SIGTERM, and return its exit status."""
        self.send_signal(signal.SIGTERM)
        with trio.fail_after(within):
            return await self.wait()

    def send_signal(self, number: signal.Signals) -> None:
        assert self.pid is not None
        os.kill(self.pid, number)

    async def wait(self) -> int:
        """Wait until the server has ended, and return its exit status."""
        assert self.pid is not None
        status = await self.forker.exit_status(self.pid)
        self.pid = None
        return status

    async def close(self) -> None:
        """Kill the server if it is running."""
        if self.pid is not None:
            with trio.CancelScope(shield=True):
                with suppress(ProcessLookupError):
                    self.send_signal(signal.SIGKILL)
                await self.wait()

    def ended(self) -> bool:
        return self.pid is None or not psutil.pid_exists(self.pid)

    def log(self) -> str:
        """Return the end of the server's log."""
        path = self.folder / "server.log"
        return path.read_text()[-4000:] if path.exists() else ""


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    """Run a server for the block. It is killed at the end if it still runs."""
    try:
        await server.start()
        yield server
    finally:
        await server.close()


# --- both ----------------------------------------------------------------------------------------


class Process(Protocol):
    def ended(self) -> bool: ...
    def log(self) -> str: ...


async def until_ready(url: str, process: Process, *, components: Collection[str] = ()) -> None:
    """Wait until GET /ready answers 200 or, given `components`, reports these as ok."""
    not_ready = "no reply"
    with trio.move_on_after(HANG_SECONDS):
        async with httpx.AsyncClient() as http:
            while not_ready := await _not_ready(http, url, components):
                if process.ended():
                    raise AssertionError(f"ended early: {process.log()}")
                await trio.sleep(0.05)
    if not_ready:
        raise AssertionError(f"not ready: {not_ready}\n{process.log()}")


async def _not_ready(http: httpx.AsyncClient, url: str, components: Collection[str]) -> str:
    try:
        reply = await http.get(f"{url}/ready")
    except httpx.TransportError as error:
        return repr(error)
    if not components:
        return "" if reply.status_code == 200 else reply.text
    now = reply.json()["parts"]
    return "; ".join(f"{name}: {now[name]['detail']}" for name in components if not now[name]["ok"])
