"""Listening sockets, and how many connections the process may have open."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import trio

from cvms.errors import ConfigurationError

log = structlog.get_logger(__name__)

BACKLOG = 1024
RESERVED_FILES = 256
"""File descriptors for everything else: database, RPC endpoints, Redis, files, probes."""


async def open_listeners(host: str, port: int, *, setting: str) -> list[trio.SocketListener]:
    """Listen on every address of `host`. Raises ConfigurationError, as `open_socket` does."""
    if host == "::":
        opened = trio.socket.from_stdlib_socket(open_socket(host, port, setting=setting))
        return [trio.SocketListener(opened)]
    with _explained(host, port, setting):
        return list(await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG))


def open_socket(host: str, port: int, *, setting: str) -> socket.socket:
    """Listen on one address; on `::` for IPv4 too.

    Raises ConfigurationError if it cannot, which names the `setting` that holds the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = host == "::" and socket.has_dualstack_ipv6()
    with _explained(host, port, setting):
        return socket.create_server(
            (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
        )


@contextmanager
def _explained(host: str, port: int, setting: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{setting} holds {port} and HOST {host}, where it cannot listen "
            f"({error.strerror or error}); expected a free port of this machine"
        ) from error


def connection_limit(most: int) -> int:
    """Raise the limit of open files as allowed, and return how many connections fit, or `most`."""
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            files = hard
        except (OSError, ValueError) as error:
            log.warning("open_file_limit_not_raised", soft=files, hard=hard, error=str(error))
    connections = limit_for(files, most=most)
    log.info("connection_limit_set", connections=connections, open_files=files)
    return connections


def limit_for(files: int, *, most: int) -> int:
    """Return how many connections fit into a limit of open files, at most `most`."""
    if files == resource.RLIM_INFINITY:
        return most
    return min(most, max(files - RESERVED_FILES, files // 2))
