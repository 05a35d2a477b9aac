"""A lock for psycopg's connections, whose own needs asyncio."""

from __future__ import annotations

from types import TracebackType

import trio


class FairLock:
    """A lock that is acquired in order, without a checkpoint if it is free.

    Unlike `trio.Lock` it has no owner, since psycopg may acquire it in one task and, through an
    asynchronous generator, release it in another. It does not yield when free, since the query
    that follows always waits for the server.
    """

    __slots__ = ("_locked", "_waiting")

    def __init__(self) -> None:
        self._locked = False
        self._waiting = trio.lowlevel.ParkingLot()

    def locked(self) -> bool:
        return self._locked

    async def acquire(self) -> bool:
        if self._locked:
            await self._waiting.park()  # release() passes the lock on without unlocking it
        else:
            self._locked = True
        return True

    def release(self) -> None:
        if self._waiting:
            self._waiting.unpark()
        else:
            self._locked = False

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
