"""The data folder of the development environment: its lock, and the operator's key."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from solders.keypair import Keypair

from cvms.config.parsers import keypair_file
from cvms.errors import ConfigurationError


@contextmanager
def locked_folder(folder: Path, what: str) -> Iterator[None]:
    """Lock `folder` for this process. The lock ends with the process, even if it is killed.

    Raises ConfigurationError if another process has the lock `what`.
    """
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
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)  # the mode applies to a new file only
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
