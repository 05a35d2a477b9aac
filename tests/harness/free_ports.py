"""Ports for servers that are told where to listen, or that start again on the same port."""

from __future__ import annotations

import random
import socket

PORTS = range(12_000, 32_000, 2)
"""Below those that Linux gives to outgoing connections and to port 0: nothing else takes one."""

_reservations: list[socket.socket] = []
"""Keep other test processes from the same ports until this process ends."""


def free_port() -> int:
    """Return a port that is free and stays so for this process, as does the next one."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if _reserve(port) and _is_free(port) and _is_free(port + 1):
            return port
    raise AssertionError("no port is free")


def _reserve(port: int) -> bool:
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0cvms-test-port-{port}")
    except OSError:
        reservation.close()
        return False
    _reservations.append(reservation)
    return True


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
