"""Where development environments run, so that commands in other terminals find them.

Each writes a record into a folder of its user while it runs. What a killed one leaves is dropped by
the next reader, since its data folder is no longer locked.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from cvms.dev.data_folder import write_private
from cvms.errors import ConfigurationError

LOCK = "dev"


@dataclass(frozen=True, slots=True)
class RunningEnvironment:
    """A running `cvms dev`: its data folder, its process, and the URLs of service and chain."""

    data: str
    pid: int
    url: str
    rpc_url: str


@contextmanager
def recorded(environment: RunningEnvironment) -> Iterator[bool]:
    """Keep a record of it for the block. Yield whether that is possible."""
    path = _record(Path(environment.data))
    try:
        write_private(path, json.dumps(asdict(environment)))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)


def running_environments() -> list[RunningEnvironment]:
    """Return those that run, by data folder."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            environment = RunningEnvironment(**json.loads(path.read_text()))
            if _runs(environment):
                found.append(environment)
            else:
                path.unlink(missing_ok=True)
    return sorted(found, key=lambda each: each.data)


def find_running(data: str) -> RunningEnvironment | None:
    """Return the environment that runs in this data folder, or without one the only one that runs.

    Raises ConfigurationError if several run, or none in that folder.
    """
    found = running_environments()
    if data:
        folder = str(Path(data).absolute())
        here = [each for each in found if each.data == folder]
        if not here:
            raise ConfigurationError(f"no `cvms dev` runs in {folder}")
        return here[0]
    if len(found) > 1:
        listed = ", ".join(f"{each.data} ({each.url})" for each in found)
        raise ConfigurationError(f"several `cvms dev` run: {listed}; choose one with --data-dir")
    return found[0] if found else None


def find_data_folder(data: str) -> Path:
    """Return the folder that is given, else that of the only environment that runs, else `.cvms`.

    Raises ConfigurationError if several run.
    """
    if data:
        return Path(data)
    environment = find_running("")
    return Path(".cvms") if environment is None else Path(environment.data)


def _runs(environment: RunningEnvironment) -> bool:
    """Return whether its process exists, and nobody could lock its data folder."""
    if not Path(f"/proc/{environment.pid}").exists() and Path("/proc/self").exists():
        return False
    with (Path(environment.data) / f"{LOCK}.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _record(data: Path) -> Path:
    return _folder() / f"{hashlib.sha256(bytes(data)).hexdigest()[:16]}.json"


def _folder() -> Path:
    """Return the folder of records: of the user, whichever terminal it is."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(cache) / "cvms" / "running"
