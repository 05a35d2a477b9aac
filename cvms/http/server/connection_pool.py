"""The open connections of a port: bounded in total, for each address and in buffered bytes.

At a bound, a connection that waits for its client makes room: an idle one, or one whose request
does not arrive. It is one of the address with the most connections, the one that has waited
longest, so that whoever opens many closes their own. If there is none, the new one is refused.
WebSockets never make room, so they have a share of the connections.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

import structlog
import trio
from prometheus_client import Counter as Metric

log = structlog.get_logger(__name__)

MAX_BUFFERED = 32 * 1024 * 1024
"""Bytes of the requests that have not arrived completely, all clients together."""
CLOSED_AT_ONCE = 64
"""Connections that make room together once there are too many: finding them takes a while."""
REPORT_SECONDS = 1.0


class Connection(Protocol):
    """A connection, as the pool sees it."""

    address: str | None
    """Of the client, as it is counted; None for a trusted proxy, which has many clients."""
    waiting_since: float | None
    """When the connection began to wait for its client; None while a request is handled."""
    buffered: int
    """Bytes of a body that has not arrived completely."""

    def finish(self) -> None: ...

    def abort(self) -> None: ...


class ConnectionPool:
    """The connections of a port. `refused` counts by reason what had to be refused or closed."""

    def __init__(self, *, total: int, per_address: int, refused: Metric) -> None:
        self._total = total
        self._per_address = per_address
        self._refused = refused
        self._open: dict[Connection, None] = {}
        self._by_address: dict[str, dict[Connection, None]] = {}
        self._websockets: set[Connection] = set()
        self._buffered = 0
        self._closing = trio.Lock()
        self._emptied = trio.Event()
        self._unreported: Counter[str] = Counter()
        self._to_report = trio.Event()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection) -> bool:
        """Add a connection, or return False if it must be refused."""
        address = connection.address
        if address is not None:
            of_address = self._by_address.get(address, {})
            if len(of_address) >= self._per_address and not self._close_waiting(of_address, 1):
                self.count("address")
                return False
        if len(self._open) >= self._total and not self._close_waiting(self._open, CLOSED_AT_ONCE):
            self.count("total")
            return False
        self._open[connection] = None
        if address is not None:
            self._by_address.setdefault(address, {})[connection] = None
        return True

    def admit_websocket(self, connection: Connection) -> bool:
        """Count an open connection as a WebSocket, or return False if it must be refused."""
        if len(self._websockets) >= self._total - self._total // 4:
            self.count("websockets")
            return False
        self._websockets.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is closed. May be called again."""
        self._websockets.discard(connection)
        if connection not in self._open:
            return
        del self._open[connection]
        self.release(connection)
        if connection.address is not None:
            of_address = self._by_address[connection.address]
            del of_address[connection]
            if not of_address:
                del self._by_address[connection.address]
        if not self._open:
            self._emptied.set()

    async def wait_to_close(self) -> None:
        """Wait until it is this task's turn to close its connection: one in each pass of the loop.

        Thousands that end together would otherwise keep everything else waiting for seconds.
        """
        async with self._closing:
            pass

    def hold(self, connection: Connection, size: int) -> None:
        """Record that `size` bytes of a connection's request are buffered; others may make room."""
        if connection not in self._open:
            return
        self._buffered += size - connection.buffered
        connection.buffered = size
        while self._buffered > MAX_BUFFERED:
            if not self._close_waiting((each for each in self._open if each.buffered), 1):
                return

    def release(self, connection: Connection) -> None:
        """Record that a connection buffers nothing."""
        self._buffered -= connection.buffered
        connection.buffered = 0

    def count(self, reason: str) -> None:
        """Count something that was refused."""
        self._refused.labels(reason=reason).inc()
        self._unreported[reason] += 1
        self._to_report.set()

    async def report(self) -> None:
        """Log what was refused, in one line a second at most."""
        while True:
            await self._to_report.wait()
            await trio.sleep(REPORT_SECONDS)
            log.warning("connections_refused", open=len(self._open), **self._unreported)
            self._unreported.clear()
            self._to_report = trio.Event()

    def finish(self) -> None:
        """Close every connection, busy ones after their responses."""
        for connection in list(self._open):
            connection.finish()

    def abort(self) -> int:
        """Abort every connection, and return how many there were."""
        for connection in self._open:
            connection.abort()
        return len(self._open)

    async def wait_until_empty(self) -> None:
        """Wait until every connection is closed."""
        while self._open:
            self._emptied = trio.Event()
            await self._emptied.wait()

    def _close_waiting(self, among: Iterable[Connection], count: int) -> bool:
        waiting = [each for each in among if each.waiting_since is not None]
        for connection in heapq.nsmallest(count, waiting, key=self._order_of_closing):
            connection.abort()
            self.remove(connection)
            self.count("evicted")
        return bool(waiting)

    def _order_of_closing(self, connection: Connection) -> tuple[int, float]:
        assert connection.waiting_since is not None
        # A trusted proxy's connections come last.
        of_address = self._by_address.get(connection.address or "", ())
        return -len(of_address), connection.waiting_since
