"""The notify socket of a service manager, on which a test listens in systemd's place."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from tests.harness.processes import HANG_SECONDS


@dataclass(frozen=True, slots=True)
class NotifySocket:
    """A bound socket, and its address as the variable NOTIFY_SOCKET has it."""

    address: str
    bound: socket.socket

    async def until(self, assignment: str) -> list[str]:
        """Wait for a notification with the assignment. Return all assignments up to there."""
        received: list[str] = []
        with trio.fail_after(HANG_SECONDS):
            while assignment not in received:
                received += await self.receive()
        return received

    async def receive(self) -> list[str]:
        """Wait for a notification, and return its assignments."""
        await trio.lowlevel.wait_readable(self.bound)
        return self.bound.recv(4096).decode().split("\n")

    def pending(self) -> list[str]:
        """Return the assignments that have arrived and were not received yet, without waiting."""
        received: list[str] = []
        while True:
            try:
                received += self.bound.recv(4096).decode().split("\n")
            except BlockingIOError:
                return received


@contextmanager
def notify_socket(address: str) -> Iterator[NotifySocket]:
    """Bind a socket to a path, or to a name in the abstract namespace, which begins with `@`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bound:
        bound.bind("\0" + address[1:] if address.startswith("@") else address)
        yield NotifySocket(address, bound)
