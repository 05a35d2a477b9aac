"""A small pool: what to do is decided on plain state, the waiting comes after."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import SystemRandom

import psycopg
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.circuit_breaker import CircuitBreaker
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.driver.event_loop import readable_now


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """Sizes and durations in seconds.

    A connection that has rested longer than `trust_idle` is checked before it is handed out, and
    the check has `check_timeout`. Lifetimes vary by a tenth, so that connections opened together
    are not all replaced together.
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


class Pool:
    """Hands out the most recently used connection; opens one only when none rests.

    It has no task of its own: resting connections are looked through whenever one is taken or
    given back. Connections come out in autocommit mode, and nothing left over from the use before.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        *,
        limits: PoolLimits,
        outage: CircuitBreaker,
    ) -> None:
        self._connect = connect
        self._limits = limits
        self._circuit_breaker = outage
        self._slots = trio.Semaphore(limits.size, max_value=limits.size)
        self._resting: deque[_Member] = deque()  # the longest at rest first
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for the block. Raises DatabaseUnavailable when there is none in time."""
        await self._take_slot()
        try:
            member = await self._take()
            try:
                yield member.connection
            finally:
                self._give_back(member)
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close what rests; what is out is closed when it comes back."""
        self._closed = True
        while self._resting:
            self._resting.pop().connection.finish()

    async def _take_slot(self) -> None:
        self._circuit_breaker.refuse()
        try:
            with trio.fail_after(self._limits.acquire_timeout):
                await self._slots.acquire()
        except trio.TooSlowError:
            seconds = self._limits.acquire_timeout
            raise DatabaseUnavailable(f"no connection came free in {seconds:g} s") from None

    async def _take(self) -> _Member:
        if self._closed:
            raise DatabaseUnavailable("the pool is closed")
        while (member := self._freshest()) is not None:
            if self._trusted(member) or await self._answers(member):
                return member
        with self._circuit_breaker.attempt():
            connection = await self._connect()
        lifetime = self._limits.max_lifetime * SystemRandom().uniform(0.9, 1.0)
        now = trio.current_time()
        return _Member(connection, expires_at=now + lifetime, heard_at=now)

    def _freshest(self) -> _Member | None:
        self._drop_expired()
        return self._resting.pop() if self._resting else None

    def _drop_expired(self) -> None:
        now = trio.current_time()
        rested_since = now - self._limits.max_idle
        kept: deque[_Member] = deque()
        for member in self._resting:
            if member.expires_at <= now or member.heard_at <= rested_since:
                member.connection.finish()
            else:
                kept.append(member)
        self._resting = kept

    def _trusted(self, member: _Member) -> bool:
        """Whether `member` can go out unchecked.

        A resting connection has nothing to read unless the server closed it.
        """
        recent = member.heard_at > trio.current_time() - self._limits.trust_idle
        unsuspected = member.heard_at > self._circuit_breaker.suspected_at
        return recent and unsuspected and not readable_now(member.connection.fileno())

    async def _answers(self, member: _Member) -> bool:
        """Whether the server answers on `member`, which is closed otherwise.

        Raises DatabaseUnavailable when the server keeps silent, or nobody may ask it now.
        """
        answered = False
        try:
            with self._circuit_breaker.attempt():
                await _ask(member.connection, seconds=self._limits.check_timeout)
            answered = True
        except _Gone:
            return False
        finally:
            if not answered:
                member.connection.finish()
        member.heard_at = trio.current_time()
        return True

    def _give_back(self, member: _Member) -> None:
        connection = member.connection
        member.heard_at = trio.current_time()
        if self._closed or not connection.reusable or member.expires_at <= member.heard_at:
            connection.finish()
        else:
            self._resting.append(member)
            self._drop_expired()


class _Gone(Exception):
    """This one connection is lost, which says nothing of the server."""


async def _ask(connection: Connection, *, seconds: float) -> None:
    """One round trip; QueryCanceled when it takes longer."""
    usual, connection.query_timeout = connection.query_timeout, seconds
    try:
        await connection.execute("SELECT 1")
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.OperationalError as error:
        raise _Gone from error
    finally:
        connection.query_timeout = usual
