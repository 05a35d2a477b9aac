"""The service in a process of its own: started, killed with -9, started again on the same port."""

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
class Zygote:
    """The process that servers are forked from. One test at a time uses it."""

    process: subprocess.Popen[bytes]
    ended: dict[int, int] = field(default_factory=dict)
    _rest: bytes = b""
    _taken: list[str] = field(default_factory=list)

    async def start(self, folder: Path, environ: Mapping[str, str]) -> int:
        """The new server's process id."""
        assert self.process.stdin is not None
        order = json.dumps({"folder": str(folder), "environ": dict(environ)})
        self.process.stdin.write(order.encode() + b"\n")
        self.process.stdin.flush()
        while True:
            word, *numbers = await self._line()
            if word == "started":
                return int(numbers[0])

    async def end_of(self, pid: int) -> int:
        """The exit status of a server, once it has ended; below zero for a signal."""
        while pid not in self.ended:
            await self._line()
        return self.ended[pid]

    async def _line(self) -> list[str]:
        assert self.process.stdout is not None
        while b"\n" not in self._rest:
            await trio.lowlevel.wait_readable(self.process.stdout)
            if not (got := os.read(self.process.stdout.fileno(), 4096)):
                raise AssertionError("the process that starts servers is gone")
            self._rest += got
        line, self._rest = self._rest.split(b"\n", 1)
        words = line.decode().split()
        if words[0] == "ended":
            self.ended[int(words[1])] = int(words[2])
        return words


PARTS = ("database", "rpc", "indexer")


@contextmanager
def zygote() -> Iterator[Zygote]:
    """A process that starts servers; it and all of them are gone afterwards."""
    command = [sys.executable, "-m", "tests.scenario.zygote"]
    folder = Path(__file__).parents[2]

    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, cwd=folder
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if process.stdout.readline() != b"ready\n":
                raise AssertionError("the process that starts servers does not start")
            yield Zygote(process)
        finally:
            process.stdin.close()


@dataclass(slots=True)
class Server:
    """`cvms serve` with its settings; `kill` and `start` as often as one likes."""

    zygote: Zygote
    folder: Path
    environ: Mapping[str, str]
    url: str
    pid: int | None = None
    kills: int = 0

    async def start(self) -> None:
        self.pid = await self.zygote.start(self.folder, self.environ)

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.pid is not None
        pid, self.pid, self.kills = self.pid, None, self.kills + 1
        os.kill(pid, signal.SIGKILL)
        status = await self.zygote.end_of(pid)
        assert status == -signal.SIGKILL, f"it ended by itself with {status}: {self.log()}"

    async def stop(self) -> int:
        """SIGTERM, and its exit status."""
        assert self.pid is not None
        pid, self.pid = self.pid, None
        os.kill(pid, signal.SIGTERM)
        with trio.fail_after(20):
            return await self.zygote.end_of(pid)

    async def close(self) -> None:
        """Whatever it does: it is gone afterwards."""
        if self.pid is not None:
            with trio.CancelScope(shield=True):
                os.kill(self.pid, signal.SIGKILL)
                await self.zygote.end_of(self.pid)

    async def ready(self) -> None:
        """Return once GET /ready says that database, chain and indexer are well.

        A task that failed again and again is not well before it has run for more than a minute.
        """
        lacking = "no answer"
        with trio.move_on_after(START_DEADLINE):
            async with httpx.AsyncClient() as http:
                while lacking := await self._lacking(http):
                    if self.pid in self.zygote.ended:
                        raise AssertionError(f"ended early: {self.log()}")
                    await trio.sleep(0.05)
        if lacking:
            raise AssertionError(f"not ready: {lacking}\n{self.log()}")

    async def _lacking(self, http: httpx.AsyncClient) -> str:
        try:
            parts = (await http.get(f"{self.url}/ready")).json()["parts"]
        except httpx.TransportError as error:
            return repr(error)
        return "; ".join(
            f"{name}: {parts[name]['detail']}" for name in PARTS if not parts[name]["ok"]
        )

    def log(self) -> str:
        """The end of what it has written."""
        path = self.folder / "server.log"
        return path.read_text()[-4000:] if path.exists() else ""
