"""Answers requests of one kind together: those that wait at the same moment share one query."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.driver.connection import Connection

RequestT = TypeVar("RequestT")
ResultT = TypeVar("ResultT")

# While the answer to one is read, the next one is under way.
MAX_QUERIES = 2
# More than the HTTP server has requests in flight.
MAX_WAITING = 1024
# A query ends by itself before; this bounds the wait for those in front of it as well.
ANSWER_SECONDS = 12.0


@dataclass(slots=True, eq=False)
class _Call(Generic[RequestT, ResultT]):
    """A request that waits, and one result or an error once it is `done`; neither at the end."""

    request: RequestT
    results: list[ResultT] | None = None
    error: Exception | None = None
    done: trio.Event = field(default_factory=trio.Event)


class Connections(Protocol):
    """A server, or a set of them, that lends connections."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in autocommit mode. Raises DatabaseUnavailable."""


class Batcher(Generic[RequestT, ResultT]):
    """Makes up to MAX_QUERIES queries at a time, each for up to `size` of the requests that wait.

    A request that finds fewer under way is made at once, by its own task; the others are answered
    by the next query. `query` returns the result of each request, in order, from one statement or
    transaction, so that all of them or none take effect. If it raises anything but
    DatabaseUnavailable, each of its requests is made again alone.
    """

    def __init__(
        self,
        database: Connections,
        query: Callable[[Connection, Sequence[RequestT]], Awaitable[Sequence[ResultT]]],
        *,
        size: int,
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._database = database
        self._query = query
        self._size = size
        self._seconds = seconds
        self._queries = 0
        self._waiting: deque[_Call[RequestT, ResultT]] = deque()
        self._wake = trio.lowlevel.ParkingLot()

    async def ask(self, request: RequestT) -> ResultT:
        """Return the result of a request. A cancelled one affects no other.

        Raises DatabaseUnavailable, also if too many wait or there is no answer in time, and what
        the query raises for this request alone.
        """
        if self._queries < MAX_QUERIES and not self._waiting:
            try:
                return (await self._results([request]))[0]
            finally:
                if self._waiting:
                    self._wake.unpark()
        if len(self._waiting) >= MAX_WAITING:
            raise DatabaseUnavailable(f"{MAX_WAITING} requests wait for the database already")
        call = _Call[RequestT, ResultT](request)
        self._waiting.append(call)
        try:
            with trio.move_on_after(self._seconds):
                await call.done.wait()
        finally:
            if call in self._waiting:
                self._waiting.remove(call)
        if call.error is not None:
            raise call.error
        if call.results is None:
            raise DatabaseUnavailable("a request was not answered in time")
        return call.results[0]

    async def run(self) -> None:
        """Answer the requests that wait, until cancelled; then none waits any more.

        MAX_QUERIES tasks do so.
        """
        try:
            while True:
                while not self._waiting or self._queries == MAX_QUERIES:
                    await self._wake.park()
                count = min(len(self._waiting), self._size)
                await self._answer([self._waiting.popleft() for _ in range(count)])
        finally:
            for call in self._waiting:
                call.done.set()

    async def _results(self, requests: Sequence[RequestT]) -> Sequence[ResultT]:
        self._queries += 1
        try:
            async with self._database.connection() as connection:
                return await self._query(connection, requests)
        finally:
            self._queries -= 1

    async def _answer(self, calls: Sequence[_Call[RequestT, ResultT]]) -> None:
        try:
            results = await self._results([call.request for call in calls])
            for call, result in zip(calls, results, strict=True):
                call.results = [result]
        except DatabaseUnavailable as error:
            for call in calls:
                call.error = DatabaseUnavailable(*error.args)
                call.error.__cause__ = error.__cause__
        except Exception as error:
            # Whatever it is, it belongs to whoever asked, and must not end this task.
            if len(calls) == 1:
                calls[0].error = error
            else:
                for call in calls:
                    await self._answer([call])
        finally:
            for call in calls:
                call.done.set()
