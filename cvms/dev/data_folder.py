"""The data folder of the development environment: its lock, and the operator's key."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio
from solders.keypair import Keypair

from cvms.config.parsers import keypair_file
from cvms.errors import ConfigurationError, leaves

_DISK_ERRORS = frozenset(
    {
        errno.EACCES,
        errno.EDQUOT,
        errno.EEXIST,
        errno.EIO,
        errno.EISDIR,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOSPC,
        errno.ENOTDIR,
        errno.EPERM,
        errno.EROFS,
    }
)


@contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Lock `folder` for this process. The lock ends with the process, even if it is killed.

    Raises ConfigurationError if another process has the lock `what`, and for what the disk refuses
    while it is held, such as a write when it is full.
    """
    with _disk_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{what}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"{folder} is in use by another {what}; stop that one or choose another folder"
                ) from None
            yield


def operator_keypair(path: Path) -> Keypair:
    """Return the keypair in `path`. The first use makes it, readable by its owner only."""
    if path.exists():
        try:
            return keypair_file(str(path))
        except ValueError as error:
            raise ConfigurationError(f"{path}: {error}; expected a Solana keypair file") from None
    keypair = Keypair()
    write_private(path, json.dumps(list(bytes(keypair))))
    return keypair


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)  # the mode applies to a new file only
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


@contextmanager
def _disk_failures(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        failures = [each for each in leaves(error) if not isinstance(each, trio.Cancelled)]
        reasons = [_reason(each, folder) for each in failures]
        if not reasons or None in reasons:
            raise
        text = "; ".join(dict.fromkeys(filter(None, reasons)))
        raise ConfigurationError(text) from None


def _reason(error: BaseException, folder: Path) -> str | None:
    """Return what the disk refuses, or None for any other error."""
    if isinstance(error, sqlite3.OperationalError):
        return f"{folder}: {error}"
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return f"{error.filename or folder}: {error.strerror}"
    return None
