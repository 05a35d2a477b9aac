"""The service as a process that can be started, killed with -9, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio

from tests.acceptance.processes import START_DEADLINE


@dataclass(slots=True)
class ServerForker:
    """The process that servers are forked from. Only one test may use it at a time."""

    process: subprocess.Popen[bytes]
    ended: dict[int, int] = field(default_factory=dict)
    _buffer: bytes = b""
    _taken: list[str] = field(default_factory=list)

    async def start(self, folder: Path, environ: Mapping[str, str]) -> int:
        """Start a server, and return its process id."""
        assert self.process.stdin is not None
        request = json.dumps({"folder": str(folder), "environ": dict(environ)})
        self.process.stdin.write(request.encode() + b"\n")
        self.process.stdin.flush()
        while True:
            word, *numbers = await self._read_line()
            if word == "started":
                return int(numbers[0])

    async def exit_status(self, pid: int) -> int:
        """Wait until a server has ended, and return its status, which is negative for a signal."""
        while pid not in self.ended:
            await self._read_line()
        return self.ended[pid]

    async def _read_line(self) -> list[str]:
        assert self.process.stdout is not None
        while b"\n" not in self._buffer:
            await trio.lowlevel.wait_readable(self.process.stdout)
            if not (got := os.read(self.process.stdout.fileno(), 4096)):
                raise AssertionError("the server forker has ended")
            self._buffer += got
        line, self._buffer = self._buffer.split(b"\n", 1)
        words = line.decode().split()
        if words[0] == "ended":
            self.ended[int(words[1])] = int(words[2])
        return words


COMPONENTS = ("database", "rpc", "indexer")


@contextmanager
def server_forker() -> Iterator[ServerForker]:
    """Start the forker. It ends, with all of its servers, at the end of the block."""
    command = [sys.executable, "-m", "tests.scenario.server_forker"]
    folder = Path(__file__).parents[2]

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=folder
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
    url: str
    pid: int | None = None
    kills: int = 0

    async def start(self) -> None:
        self.pid = await self.forker.start(self.folder, self.environ)

    async def kill(self) -> None:
        """Kill the server with -9, and wait until it has ended."""
        assert self.pid is not None
        pid, self.pid, self.kills = self.pid, None, self.kills + 1
        os.kill(pid, signal.SIGKILL)
        status = await self.forker.exit_status(pid)
        assert status == -signal.SIGKILL, f"the server had ended with {status}: {self.log()}"

    async def stop(self) -> int:
        """Stop the server with SIGTERM, and return its exit status."""
        assert self.pid is not None
        pid, self.pid = self.pid, None
        os.kill(pid, signal.SIGTERM)
        with trio.fail_after(20):
            return await self.forker.exit_status(pid)

    async def close(self) -> None:
        """Kill the server if it is running."""
        if self.pid is not None:
            with trio.CancelScope(shield=True):
                os.kill(self.pid, signal.SIGKILL)
                await self.forker.exit_status(self.pid)

    async def wait_until_ready(self) -> None:
        """Wait until GET /ready reports that database, chain and indexer are ok.

        Other components are ignored: after a crash loop, a task is reported for over a minute.
        """
        not_ready = "no reply"
        with trio.move_on_after(START_DEADLINE):
            async with httpx.AsyncClient() as http:
                while not_ready := await self._not_ready(http):
                    if self.pid in self.forker.ended:
                        raise AssertionError(f"ended early: {self.log()}")
                    await trio.sleep(0.05)
        if not_ready:
            raise AssertionError(f"not ready: {not_ready}\n{self.log()}")

    async def _not_ready(self, http: httpx.AsyncClient) -> str:
        try:
            components = (await http.get(f"{self.url}/ready")).json()["parts"]
        except httpx.TransportError as error:
            return repr(error)
        return "; ".join(
            f"{name}: {components[name]['detail']}"
            for name in COMPONENTS
            if not components[name]["ok"]
        )

    def log(self) -> str:
        """Return the end of the server's log."""
        path = self.folder / "server.log"
        return path.read_text()[-4000:] if path.exists() else ""
