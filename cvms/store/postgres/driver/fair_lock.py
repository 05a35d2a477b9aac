"""A lock for psycopg's connections, whose own needs asyncio."""

from __future__ import annotations

from types import TracebackType

import trio


class FairLock:
    """First come, first served; free of a checkpoint when nobody holds it.

    Unlike `trio.Lock` it has no owner, since psycopg may take it in one task and, through an
    asynchronous generator, release it in another; and it does not yield when free, since the
    query that follows always waits for the server.
    """

    __slots__ = ("_held", "_waiting")

    def __init__(self) -> None:
        self._held = False
        self._waiting = trio.lowlevel.ParkingLot()

    def locked(self) -> bool:
        return self._held

    async def acquire(self) -> bool:
        if self._held:
            await self._waiting.park()  # release() hands the lock over without letting it go
        else:
            self._held = True
        return True

    def release(self) -> None:
        if self._waiting:
            self._waiting.unpark()
        else:
            self._held = False

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()
