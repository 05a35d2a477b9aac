"""A connection to Redis on which everything ends at a deadline.

redis-py applies its timeout to each read of the socket: an answer that arrives byte by byte would
never end. Here all reads and writes share one deadline.
"""

from __future__ import annotations

import socket
import time
from typing import Any

FROM_URL = {"host", "port", "path", "db", "username", "password"}
"""What a URL decides. Its other parameters would change deadlines, retries or TLS."""
FIXED: dict[str, Any] = {
    "protocol": 2,  # no HELLO, whose answer redis-py takes as it comes
    "driver_info": None,  # no CLIENT SETINFO, which Redis 6 does not have
    "health_check_interval": 0,
    "retry": None,
}
MAX_BYTES = 16 * 2**20
"""Of the answers to one pipeline: more than 256 calls have, and little for a process."""
VERIFIED: dict[str, Any] = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}


class RedisAway(Exception):
    """Redis does not answer, or not what it should, or did not a moment ago."""


class Deadline:
    """The end of what a thread is at, by the monotonic clock, and how much it may read."""

    def __init__(self) -> None:
        self._end = 0.0
        self.bytes_left = 0

    def restart(self, seconds: float) -> None:
        """Begin an operation."""
        self._end = time.monotonic() + seconds
        self.bytes_left = MAX_BYTES

    def left(self) -> float:
        """Return the seconds that are left. Raises TimeoutError once there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class DeadlineSocket:
    """A socket whose reads and writes end at a deadline, if not at the library's own timeout."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._connected = connected
        self._deadline = deadline
        self._timeout: float | None = None

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def recv(self, size: int) -> bytes:
        self._limit()
        data = self._connected.recv(size)
        self._deadline.bytes_left -= len(data)
        if self._deadline.bytes_left < 0:
            raise OSError("Redis sends more than it was asked for")
        return data

    def sendall(self, data: bytes) -> None:
        self._limit()
        self._connected.sendall(data)

    def _limit(self) -> None:
        left = self._deadline.left()
        self._connected.settimeout(left if self._timeout is None else min(left, self._timeout))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connected, name)


def new_connection(url: str, deadline: Deadline) -> Any:
    """Return a connection to `url`, which its `connect` opens before the deadline.

    It is a `redis.connection.Connection`, most of which has no types.

    The certificate of a rediss:// host is verified against the system's authorities.
    """
    # Imported only where there is a Redis: see RedisClient.
    from redis import connection as library  # noqa: PLC0415
    from redis._parsers import _RESP2Parser  # noqa: PLC0415

    parse_url: Any = library.parse_url
    options = parse_url(url)
    kind = options.pop("connection_class", library.Connection)

    class DeadlineConnection(kind):  # type: ignore[misc,valid-type]
        def _connect(self) -> DeadlineSocket:
            self.socket_timeout: float | None = deadline.left()
            self.socket_connect_timeout = self.socket_timeout
            connected = super()._connect()
            self.socket_timeout = None  # what was left for this connection bounds no later read
            return DeadlineSocket(connected, deadline)

    decided = {name: value for name, value in options.items() if name in FROM_URL}
    secure = VERIFIED if url.startswith("rediss://") else {}
    # hiredis makes a list of the length that an answer announces: 17 GB for eleven bytes.
    return DeadlineConnection(**decided, **FIXED, **secure, parser_class=_RESP2Parser)
