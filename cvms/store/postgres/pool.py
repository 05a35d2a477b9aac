"""A small connection pool: it decides on plain state first and waits after that."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from random import SystemRandom
from types import TracebackType

import psycopg
import trio

from cvms.errors import DatabaseUnavailable
from cvms.metrics.database_metrics import PoolMetrics
from cvms.store.postgres.circuit_breaker import CircuitBreaker
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.driver.event_loop import readable_now


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The size of a pool, and durations in seconds.

    A connection that was idle longer than `trust_idle` is checked before use, with `check_timeout`.
    Lifetimes vary by a tenth, so that connections opened together are not all replaced together.
    """

    size: int
    acquire_timeout: float
    check_timeout: float
    max_lifetime: float
    max_idle: float
    trust_idle: float = 5.0


@dataclass(slots=True)
class _Member:
    connection: Connection
    expires_at: float
    heard_at: float  # when the server last answered on it
    generation: int


class Pool:
    """Lends the most recently used connection, and opens one only if none is idle.

    It has no task of its own: idle connections are examined whenever one is acquired or released.
    Connections are in autocommit mode, with no state left over from the previous use.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        limits: PoolLimits,
        circuit_breaker: CircuitBreaker,
        report: Callable[[Connection, psycopg.Error], None] = lambda connection, error: None,
        metrics: PoolMetrics | None = None,
    ) -> None:
        self._connect = connect
        self._report = report
        self._limits = limits
        self._circuit_breaker = circuit_breaker
        self._slots = trio.Semaphore(limits.size, max_value=limits.size)
        self._idle: deque[_Member] = deque()  # longest idle first
        self._closed = False
        self._generation = 0
        self._metrics = metrics
        if metrics is not None:
            self._show_in(metrics)

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection for a block. Raises DatabaseUnavailable if there is none in time.

        `report` is called with an error of psycopg that leaves the block, and may raise another.
        """
        return _Lending(self._acquire, self._release, self._report)

    def close(self) -> None:
        """Close the idle connections; the others are closed when they are released."""
        self._closed = True
        self.discard()

    def discard(self) -> None:
        """Close the idle connections, and those that are lent when they are released."""
        self._generation += 1
        while self._idle:
            self._idle.pop().connection.finish()

    async def _acquire(self) -> _Member:
        self._circuit_breaker.check()
        await self._take_slot()
        try:
            return await self._take()
        except BaseException:
            self._slots.release()
            raise

    def _show_in(self, metrics: PoolMetrics) -> None:
        size, slots = self._limits.size, self._slots
        metrics.connections.labels("idle").set_function(lambda: len(self._idle))
        metrics.connections.labels("in_use").set_function(lambda: size - slots.value)
        metrics.waiting.set_function(lambda: slots.statistics().tasks_waiting)

    async def _take_slot(self) -> None:
        try:
            self._slots.acquire_nowait()  # no checkpoint: the query that follows has one
            self._waited(0.0)
        except trio.WouldBlock:
            await self._wait_for_slot()

    async def _wait_for_slot(self) -> None:
        seconds, began = self._limits.acquire_timeout, trio.current_time()
        try:
            with trio.move_on_after(seconds):
                return await self._slots.acquire()
        finally:
            self._waited(trio.current_time() - began)
        raise DatabaseUnavailable(f"no connection came free in {seconds:g} s")

    def _waited(self, seconds: float) -> None:
        if self._metrics is not None:
            self._metrics.wait_seconds.observe(seconds)

    async def _take(self) -> _Member:
        if self._closed:
            raise DatabaseUnavailable("the pool is closed")
        while (member := self._newest_idle()) is not None:
            if self._trusted(member) or await self._answers(member):
                return member
        generation = self._generation
        with self._circuit_breaker.attempt():
            connection = await self._connect()
        lifetime = self._limits.max_lifetime * SystemRandom().uniform(0.9, 1.0)
        now = trio.current_time()
        return _Member(connection, now + lifetime, heard_at=now, generation=generation)

    def _newest_idle(self) -> _Member | None:
        self._drop_expired()
        return self._idle.pop() if self._idle else None

    def _drop_expired(self) -> None:
        now = trio.current_time()
        idle_since = now - self._limits.max_idle
        for member in list(self._idle):
            if member.expires_at <= now or member.heard_at <= idle_since:
                self._idle.remove(member)
                member.connection.finish()

    def _trusted(self, member: _Member) -> bool:
        """Return whether `member` can be lent without a check.

        An idle connection has nothing to read unless the server closed it.
        """
        recent = member.heard_at > trio.current_time() - self._limits.trust_idle
        unsuspected = member.heard_at > self._circuit_breaker.suspected_at
        return recent and unsuspected and not readable_now(member.connection.fileno())

    async def _answers(self, member: _Member) -> bool:
        """Return whether the server answers on `member`, which is closed otherwise.

        Raises DatabaseUnavailable if the server does not answer in time, or the circuit breaker
        is open.
        """
        answered = False
        try:
            with self._circuit_breaker.attempt():
                await _probe(member.connection, seconds=self._limits.check_timeout)
            answered = True
        except _ConnectionLost:
            return False
        finally:
            if not answered:
                member.connection.finish()
        member.heard_at = trio.current_time()
        return True

    def _release(self, member: _Member) -> None:
        connection = member.connection
        member.heard_at = trio.current_time()
        outdated = member.generation != self._generation or member.expires_at <= member.heard_at
        try:
            if self._closed or outdated or not connection.reusable:
                connection.finish()
            else:
                self._idle.append(member)
                self._drop_expired()
        finally:
            self._slots.release()


class _Lending(AbstractAsyncContextManager[Connection]):
    """Lends a connection. Every query needs one, and a generator would take four times as long."""

    __slots__ = ("_acquire", "_member", "_release", "_report")

    def __init__(
        self,
        acquire: Callable[[], Awaitable[_Member]],
        release: Callable[[_Member], None],
        report: Callable[[Connection, psycopg.Error], None],
    ) -> None:
        self._acquire = acquire
        self._release = release
        self._report = report

    async def __aenter__(self) -> Connection:
        self._member = await self._acquire()
        return self._member.connection

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if isinstance(exc, psycopg.Error):
                self._report(self._member.connection, exc)
        finally:
            self._release(self._member)


class _ConnectionLost(Exception):
    """One connection is lost, which says nothing about the server."""


async def _probe(connection: Connection, *, seconds: float) -> None:
    """Make one round trip. Raises QueryCanceled if it takes longer than `seconds`."""
    usual, connection.query_timeout = connection.query_timeout, seconds
    try:
        await connection.execute("SELECT 1")
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.OperationalError as error:
        raise _ConnectionLost from error
    finally:
        connection.query_timeout = usual
