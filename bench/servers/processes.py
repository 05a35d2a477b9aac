"""Servers in processes of their own, which print their port and end with their standard input."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import psutil

END_SECONDS = 90.0
"""To close 10,000 WebSockets takes one core half a minute."""


@dataclass(frozen=True, slots=True)
class Started:
    """A server on a port of this machine."""

    port: int
    process: psutil.Process
    stdin: IO[bytes]

    def cpu_seconds(self) -> float:
        """Return the CPU time, the kernel's included, that it and its children have used."""
        everyone = [self.process, *self.process.children(recursive=True)]
        return sum(sum(each.cpu_times()[:2]) for each in everyone)

    def mebibytes(self) -> float:
        everyone = [self.process, *self.process.children(recursive=True)]
        return float(sum(each.memory_info().rss for each in everyone)) / 2**20


@contextmanager
def started(code: str, *arguments: str) -> Iterator[Started]:
    """Run this Python code, which prints its port once it listens.

    Raises ValueError if it ends before.
    """
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            port = int(server.stdout.readline())
            yield Started(port, psutil.Process(server.pid), server.stdin)
        finally:
            server.stdin.close()  # it stops when nobody holds it any more
            try:
                server.wait(timeout=END_SECONDS)
            except subprocess.TimeoutExpired:
                server.kill()
                raise
