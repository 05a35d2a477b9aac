"""The development environment on a full disk ends in one line."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from cvms.dev.data_folder import locked_folder
from cvms.errors import ConfigurationError
from tests.harness.small_disk import small_disk


def failure_of(*command: str) -> str:
    """Return the one line of a command's errors."""
    done = subprocess.run(
        [sys.executable, "-m", "cvms.cli", *command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_postgresql_has_no_room(tmp_path: Path) -> None:
    with small_disk(tmp_path, "3m") as disk:
        failure = failure_of("dev", "--port=0", "--localnet-port=0", f"--data-dir={disk}/data")
    assert failure.startswith(f"cvms: PostgreSQL does not start in {disk}/data/postgres: ")
    assert "No space left on device" in failure


def test_the_ledger_has_no_room(tmp_path: Path) -> None:
    with small_disk(tmp_path, "100k") as disk:
        failure = failure_of("localnet", "--port=0", f"--data-dir={disk}/data")
    assert failure == f"cvms: {disk}/data: database or disk is full\n"


def test_the_disk_fills_while_everything_runs(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some/file")
    failures = [sqlite3.OperationalError("database or disk is full"), full]
    with (
        pytest.raises(ConfigurationError) as raised,
        locked_folder(tmp_path, "dev"),
        locked_folder(tmp_path, "localnet"),
    ):
        raise BaseExceptionGroup("nursery", [ExceptionGroup("nursery", failures)])
    assert str(raised.value) == (
        f"{tmp_path}: database or disk is full; some/file: No space left on device"
    )


@pytest.mark.parametrize("other", [ValueError("a fault"), KeyboardInterrupt(), OSError("odd")])
def test_other_failures_are_not_taken_for_the_disk(tmp_path: Path, other: BaseException) -> None:
    full = OSError(errno.ENOSPC, "full")
    with pytest.raises(BaseExceptionGroup) as raised, locked_folder(tmp_path, "dev"):
        raise BaseExceptionGroup("nursery", [full, other])
    assert raised.value.exceptions == (full, other)


async def test_a_cancelled_command_stays_cancelled(tmp_path: Path) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        with locked_folder(tmp_path, "dev"):
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
