"""Wall clock of a server, which a test moves while the server runs.

A file holds the seconds by which it is moved. The forker follows the file that a server's
environment names; only servers that it forks do.
"""

from __future__ import annotations

import mmap
import struct
import sys
import time
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

VARIABLE = "TEST_CLOCK_FILE"
OFFSET = struct.Struct("d")


class WallClock:
    """The test's end: writes the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.move(0.0)

    def move(self, seconds: float) -> None:
        """Let the server's clock differ from the real one by so many seconds."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(OFFSET.pack(seconds))


class MovableTime:
    """The server's end: takes the place of `time.time` before anything keeps a reference to it."""

    def __init__(self) -> None:
        self._real = time.time
        self._offset: mmap.mmap | None = None
        time.time = self.now

    def follow(self, path: str) -> None:
        with open(path, "rb") as file:
            self._offset = mmap.mmap(file.fileno(), OFFSET.size, prot=mmap.PROT_READ)

    def now(self) -> float:
        if self._offset is None:
            return self._real()
        [offset] = OFFSET.unpack(self._offset[:])
        return self._real() + float(offset)


DECIDING = (
    "cvms.chain.rpc.transport.http_post",
    "cvms.http.auth.credential",
    "cvms.nursery.alerts.monitor",
)
"""Modules that decide by `datetime.now`. The others that call it only show the time."""


def move_datetimes_too() -> None:
    """Let `datetime.now` follow `time.time` in the modules that decide by it."""
    for name in DECIDING:
        vars(sys.modules[name])["datetime"] = _MovableDatetime


class _MovableDatetime(datetime):
    def __new__(cls, *args: Any, **fields: Any) -> Any:
        return datetime(*args, **fields)  # noqa: DTZ001 - as the caller says

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.fromtimestamp(time.time(), tz)
