"""Notifications to the service manager, systemd or another, as sd_notify(3) describes them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
import trio

log = structlog.get_logger(__name__)

ADDRESS = "NOTIFY_SOCKET"
NO_WATCHDOG = 2**64 - 1
"""Microseconds, as systemd writes an infinite time."""
REFRESH_SECONDS = 5.0
"""Between two notifications at most: how old the status may be."""


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Whoever has started this process and wants to know how it is.

    `address` is the notify socket, None if nobody listens; then nothing is sent. `watchdog` is the
    number of seconds without a sign of life after which the process is killed.
    """

    address: str | None = None
    watchdog: float | None = None

    def notify(self, *assignments: str) -> None:
        """Send assignments such as `READY=1`. What cannot be sent is logged, and no error."""
        if self.address is None:
            return
        # A name in the abstract namespace begins with a zero byte, which no variable can hold.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
                sending.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            log.warning("service_manager_not_notified", what=assignments, reason=str(error))

    async def keep_informed(self, status: Callable[[], str]) -> None:
        """Say that this process serves, and then again and again that its event loop turns.

        `status` is one line. Runs until cancelled.
        """
        self.notify("READY=1")
        seconds = REFRESH_SECONDS
        if self.watchdog is not None:
            seconds = min(seconds, self.watchdog / 3)
        while True:
            alive = () if self.watchdog is None else ("WATCHDOG=1",)
            self.notify(*alive, f"STATUS={status()}")
            await trio.sleep(seconds)


def service_manager_of(environ: Mapping[str, str], *, pid: int | None = None) -> ServiceManager:
    """Return the service manager that the variables name.

    Its watchdog may be meant for another process, as sd_watchdog_enabled(3) says.
    """
    address = environ.get(ADDRESS) or None
    mine = environ.get("WATCHDOG_PID") in {None, "", str(pid or os.getpid())}
    text = environ.get("WATCHDOG_USEC", "")
    known = mine and text.isdecimal() and len(text) <= len(str(NO_WATCHDOG))
    microseconds = int(text) if known else 0
    watched = 0 < microseconds < NO_WATCHDOG
    return ServiceManager(address, microseconds / 1e6 if watched else None)
