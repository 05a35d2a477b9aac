"""Real processes: start, watch, kill and await the `cvms` command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio

START_DEADLINE = 60.0


@dataclass(slots=True)
class Command:
    """A running `cvms` command and the output it has printed so far."""

    process: trio.Process
    errors: Path
    printed: list[str] = field(default_factory=list)
    grown: trio.Event = field(default_factory=trio.Event)

    async def line(self, start: str) -> str:
        """Wait for a printed line that begins with `start` and return the rest of it."""
        with trio.fail_after(START_DEADLINE):
            while True:
                for line in self.printed:
                    if line.startswith(start):
                        return line.removeprefix(start).split()[0]
                if self.process.poll() is not None:
                    raise AssertionError(f"ended early: {self.printed} {self.errors.read_text()}")
                await self.grown.wait()

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


async def until_ready(url: str, command: Command | None = None) -> None:
    """Wait until GET /ready answers 200."""
    with trio.fail_after(START_DEADLINE):
        async with httpx.AsyncClient() as http:
            while not await _answers(http, f"{url}/ready"):
                if command is not None and command.process.poll() is not None:
                    raise AssertionError(f"ended early: {command.errors.read_text()}")
                await trio.sleep(0.05)


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


def free_port() -> int:
    """Return a port that is free, as is the next one, for a server that must restart on it."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
            try:
                with socket.create_server(("127.0.0.1", port + 1)):
                    return port
            except (OSError, OverflowError):
                continue
