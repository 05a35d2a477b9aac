"""A psycopg connection that waits on trio.

AsyncConnection of psycopg needs asyncio to connect, wait, cancel and lock. This module replaces
those parts and uses the rest of psycopg as it is. Some of them are internal, so psycopg is pinned
exactly, and `tests/store/postgres/driver/test_psycopg_pin.py` fails if they change.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

import structlog
import trio
from psycopg import AsyncConnection, AsyncCursor, AsyncTransaction, errors, pq
from psycopg.abc import AdaptContext, ConnParam, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import AsyncRowFactory, TupleRow, tuple_row

from cvms.metrics.database_metrics import PoolMetrics
from cvms.store.postgres.driver.array_dumper import ArrayDumper
from cvms.store.postgres.driver.connect import connect_first
from cvms.store.postgres.driver.event_loop import RV, YieldTimer, run_connecting, run_generator
from cvms.store.postgres.driver.fair_lock import FairLock

# How long a cancelled query may take to end before its connection is closed instead. It delays a
# cancelled task by as much, so it must be well below the shutdown deadline.
CANCEL_SECONDS = 1.5

_ACTIVE = pq.TransactionStatus.ACTIVE
_IDLE = pq.TransactionStatus.IDLE

log = structlog.get_logger(__name__)


class Connection(AsyncConnection[TupleRow]):
    """One connection, used by one task at a time.

    `query_timeout` is the time in seconds for each exchange with the server. After it, the
    connection is closed and psycopg's QueryCanceled is raised; after an answer that libpq cannot
    read, it is closed and OperationalError is raised. If a task is cancelled during a
    query, the server is asked to cancel it and the response is drained, or else the connection is
    closed: its state is never unknown.
    """

    query_timeout: float = math.inf
    metrics: PoolMetrics | None = None
    """Counts the exchanges with the server."""

    def __init__(self, pgconn: pq.abc.PGconn, row_factory: Any = tuple_row) -> None:
        super().__init__(pgconn, row_factory)
        self.lock = FairLock()  # type: ignore[assignment]
        self._yield_timer = YieldTimer()

    @classmethod
    async def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = 5,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[TupleRow] | None = None,
        cursor_factory: type[AsyncCursor[TupleRow]] | None = None,
        **kwargs: ConnParam,
    ) -> Self:
        """Connect like AsyncConnection.connect, on trio. Raises psycopg.OperationalError."""
        connection = await connect_first(cls._connect_gen, conninfo_to_dict(conninfo, **kwargs))
        connection._autocommit = autocommit
        connection.prepare_threshold = prepare_threshold
        if row_factory is not None:
            connection.row_factory = row_factory
        if cursor_factory is not None:
            connection.cursor_factory = cursor_factory
        if context is not None:
            connection._adapters = AdaptersMap(context.adapters)
        connection.adapters.register_dumper(list, ArrayDumper)
        return connection

    @property
    def reusable(self) -> bool:
        """True if open and without a query, transaction or pipeline left over from the last use."""
        return (
            not self.closed
            and self.pgconn.transaction_status == _IDLE
            and self.pgconn.pipeline_status == pq.PipelineStatus.OFF
            and self._num_transactions == 0
        )

    async def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run one exchange with the server.

        When `timeout` seconds pass, psycopg's _WaitTimeout is raised, and the query goes on.
        `interval` is psycopg's polling interval, which trio does not need.
        """
        metrics = self.metrics
        if metrics is None or timeout is not None:  # with a timeout it waits for notifications
            return await self._exchange(gen, timeout)
        outcome = metrics.cancelled
        try:
            answer = await self._exchange(gen, None)
            outcome = metrics.answered
            return answer
        except errors.QueryCanceled:
            outcome = metrics.timed_out
            raise
        except errors.Error:
            outcome = metrics.failed
            raise
        finally:
            outcome.inc()

    async def _exchange(self, gen: PQGen[RV], timeout: float | None) -> RV:
        if self._num_transactions == 0 and self.pgconn.transaction_status == _IDLE:
            await trio.lowlevel.checkpoint_if_cancelled()  # a cancelled task starts no exchange
        seconds = self.query_timeout if timeout is None else timeout
        with trio.CancelScope(deadline=trio.current_time() + seconds) as scope:
            try:
                return await run_generator(gen, self.pgconn.socket, self._yield_timer)
            except (trio.Cancelled, KeyboardInterrupt):
                if not scope.cancel_called:
                    await self._interrupt(gen)
                raise
            except errors.DatabaseError as error:
                if type(error) is not errors.DatabaseError or error.sqlstate is not None:
                    raise
                self.finish()  # libpq would go on after an answer that it could not read
                raise errors.OperationalError(f"unreadable answer: {error}") from error
        if timeout is not None:
            raise errors._WaitTimeout("wait timeout expired")
        # The server did not apply its statement_timeout, so it will not react to a cancel either.
        self.finish()
        raise errors.QueryCanceled(f"no answer from the server in {seconds:g} s")

    async def cancel_safe(self, *, timeout: float = CANCEL_SECONDS) -> None:
        """Ask the server to cancel the running query. Raises CancellationTimeout."""
        if not self._should_cancel():
            return
        try:
            with trio.fail_after(timeout):
                await run_connecting(self._cancel_gen())
        except trio.TooSlowError:
            raise errors.CancellationTimeout("cancellation timeout expired") from None

    @asynccontextmanager
    async def transaction(
        self, savepoint_name: str | None = None, force_rollback: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """Like AsyncConnection.transaction, but a cancelled block ends only after its rollback."""
        transaction = _Transaction(self, savepoint_name, force_rollback)
        if self._pipeline:
            async with self.pipeline(), transaction, self.pipeline():
                yield transaction
        else:
            async with transaction:
                yield transaction

    async def close(self) -> None:
        self.finish()

    def finish(self) -> None:
        """Close the socket now. A task that waits on it gets OperationalError."""
        if self.closed:
            return
        self._closed = True
        with suppress(errors.OperationalError):  # the socket is closed already
            trio.lowlevel.notify_closing(self.pgconn.socket)
        self.pgconn.finish()

    async def _interrupt(self, gen: PQGen[RV]) -> None:
        """End the running query, or close the connection, before the cancelled task continues."""
        if self.closed or self.pgconn.transaction_status != _ACTIVE:
            return
        with trio.move_on_after(CANCEL_SECONDS, shield=True):
            try:
                await self.cancel_safe()
                await run_generator(gen, self.pgconn.socket, self._yield_timer)
            except errors.Error as error:
                # QueryCanceled is the expected error; any other ends the query just as well
                log.debug("query_interrupted", reason=str(error))
        unfinished = self.pgconn.transaction_status == _ACTIVE
        if unfinished and self.pgconn.pipeline_status == pq.PipelineStatus.OFF:
            self.finish()


class _Transaction(AsyncTransaction):
    """A transaction that rolls back shielded, since a cancelled task could not wait otherwise."""

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        if exc_val is not None:
            return await self._roll_back(exc_type, exc_val, exc_tb)
        try:
            await trio.lowlevel.checkpoint_if_cancelled()  # a cancelled task starts no commit
        except trio.Cancelled as cancelled:
            await self._roll_back(type(cancelled), cancelled, cancelled.__traceback__)
            raise
        return await super().__aexit__(None, None, None)

    async def _roll_back(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException,
        exc_tb: TracebackType | None,
    ) -> bool:
        # After the deadline, wait() closes the connection, which ends the transaction.
        with trio.move_on_after(CANCEL_SECONDS, shield=True):
            return await super().__aexit__(exc_type, exc_val, exc_tb)
        return False
