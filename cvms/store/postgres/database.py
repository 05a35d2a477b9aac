"""The only access to PostgreSQL: connections, transactions, and whether it is available."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from random import SystemRandom
from typing import TypeVar

import psycopg
import structlog
import trio

from cvms.errors import ConfigurationError, DatabaseUnavailable, one_line
from cvms.metrics.database_metrics import PoolMetrics
from cvms.store.postgres.circuit_breaker import CircuitBreaker
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.driver.pooler import backends_are_shared, is_behind_pooler
from cvms.store.postgres.migrate import apply_schema, read_status
from cvms.store.postgres.pool import Pool, PoolLimits
from cvms.store.postgres.session import open_session

# A migration that rewrites the history takes a minute for some million lines, and waits for other
# processes that migrate.
MIGRATION_SECONDS = 4 * 3600.0

T = TypeVar("T")

ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.005

REPEATABLE = (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected)

log = structlog.get_logger(__name__)


class Database:
    """A PostgreSQL server, or a set of them behind one connection string.

    OperationalError of psycopg, lost connections, timeouts and faults of the server are raised as
    DatabaseUnavailable. Other psycopg errors (IntegrityError, ProgrammingError, DataError) are
    mistakes of the caller and pass through. While the server is known to be down, callers fail at
    once, except for one attempt a second. Until `prepare` has applied the schema, `connection` and
    `transaction` raise DatabaseUnavailable too.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        limits: PoolLimits,
        connect_timeout: float,
        query_timeout: float,
        schema: str | None = None,
        metrics: PoolMetrics | None = None,
    ) -> None:
        self._open = partial(
            open_session,
            conninfo,
            connect_timeout=connect_timeout,
            schema=schema,
            metrics=metrics,
        )
        self._query_timeout = query_timeout
        self._circuit_breaker = CircuitBreaker()
        self._pool = Pool(
            partial(self._open, query_timeout=query_timeout),
            limits=limits,
            circuit_breaker=self._circuit_breaker,
            report=self._report,
            metrics=metrics,
        )
        self._dedicated: set[Connection] = set()
        self._disk_full = False
        self._metrics = metrics
        self.schema_ready = False

    @property
    def available(self) -> bool:
        """True if the last attempt to reach the server succeeded."""
        return self._circuit_breaker.closed

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in autocommit mode: each statement is its own transaction."""
        if not self.schema_ready:
            raise DatabaseUnavailable(NO_SCHEMA)
        return self._pool.connection()

    @asynccontextmanager
    async def transaction(
        self, *, isolation: psycopg.IsolationLevel | None = None
    ) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction that is committed at the end of the block.

        An exception or a cancellation rolls it back.
        """
        async with self.connection() as connection, connection.transaction():
            if isolation is not None:
                await connection.execute(SET_ISOLATION[isolation])
            yield connection

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Return the result of `work` in a transaction, and repeat it if PostgreSQL asks for that.

        It does after a deadlock or a serialization failure, of which nothing is left. `work` may
        have effects on the connection only. Raises DatabaseUnavailable after too many attempts.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                async with self.transaction() as connection:
                    return await work(connection)
            except DatabaseUnavailable as error:
                if not isinstance(error.__cause__, REPEATABLE):
                    raise
                log.info("transaction_repeated", attempt=attempt, reason=str(error))
            if self._metrics is not None:
                self._metrics.transaction_repeats.inc()
            # Whoever collided must not do so again.
            await trio.sleep(SystemRandom().uniform(0, FIRST_PAUSE_SECONDS * 2**attempt))
        async with self.transaction() as connection:
            return await work(connection)

    @asynccontextmanager
    async def dedicated(self, *, query_timeout: float | None = None) -> AsyncIterator[Connection]:
        """Yield a connection outside the pool, for uses tied to a session: LISTEN, leases."""
        with self._circuit_breaker.attempt():
            connection = await self._open(query_timeout=query_timeout or self._query_timeout)
        self._dedicated.add(connection)
        try:
            yield connection
        except psycopg.Error as error:
            self._report(connection, error)
            raise
        finally:
            self._dedicated.remove(connection)
            connection.finish()

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """Yield a connection outside the pool that reads from one snapshot, for long reads.

        The server ends the transaction if no query comes for too long.
        """
        if not self.schema_ready:
            raise DatabaseUnavailable(NO_SCHEMA)
        async with self.dedicated() as connection, connection.transaction():
            await connection.execute(SET_ISOLATION[psycopg.IsolationLevel.REPEATABLE_READ])
            yield connection

    @asynccontextmanager
    async def migrating(self) -> AsyncIterator[tuple[Connection, Connection]]:
        """Yield a connection for long statements, and one that watches who blocks it.

        Raises ConfigurationError if sessions do not keep their backends, or the role lacks rights.
        """
        try:
            async with (
                self.dedicated(query_timeout=MIGRATION_SECONDS) as connection,
                self.dedicated() as other,
            ):
                pooled = await is_behind_pooler(connection)
                if pooled and await backends_are_shared(connection, other):
                    raise ConfigurationError(SHARED_BACKENDS)
                yield connection, other
        except psycopg.errors.InsufficientPrivilege as error:
            raise ConfigurationError(f"{one_line(error)}; {MISSING_RIGHTS}") from error

    async def prepare(self, *, migrate: bool = True) -> None:
        """Apply the migrations and admit callers. Safe to repeat, and in several processes.

        Without `migrate` they have to be applied. Raises SchemaMismatch if they are not, or this
        code may not work with the schema, and what `migrating` does.
        """
        async with self.migrating() as (connection, watcher):
            if migrate:
                await apply_schema(connection, watcher=watcher)
            else:
                (await read_status(connection)).check_applied()
        self.schema_ready = True

    async def probe(self) -> None:
        """Make one round trip to the server. Raises DatabaseUnavailable."""
        async with self._pool.connection() as connection:
            await connection.execute("SELECT 1")

    async def probe_write(self) -> None:
        """Commit a change of one row, which is always the same. Raises DatabaseUnavailable.

        That needs no space. So once a statement has found the disk full, some is claimed first.
        """
        if self._disk_full:
            async with self.transaction() as connection:
                await connection.execute("SET LOCAL work_mem = '64kB'")
                await connection.execute(CLAIM_SPACE)
            self._disk_full = False
        async with self.connection() as connection:
            await connection.execute(PROBE_WRITE)

    def close(self) -> None:
        """Close all idle connections; the others are closed when they are released."""
        self._pool.close()

    def _report(self, connection: Connection, error: psycopg.Error) -> None:
        """Raise a failure as DatabaseUnavailable, and inform the circuit breaker."""
        if isinstance(error, psycopg.errors.DiskFull):
            self._disk_full = True
        if connection.closed:
            self._circuit_breaker.suspect()
            if isinstance(error, psycopg.errors.QueryCanceled):
                self._circuit_breaker.trip(str(error))
        elif isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            self._leave_server(str(error).strip())
        elif (error.sqlstate or "").startswith(SERVER_FAULTS):
            connection.finish()
        elif not isinstance(error, psycopg.OperationalError):
            return
        raise DatabaseUnavailable(str(error).strip()) from error

    def _leave_server(self, reason: str) -> None:
        """Close every connection: another server may be the one to write to by now."""
        log.warning("database_read_only", reason=reason)
        self._pool.discard()
        for connection in self._dedicated:
            connection.finish()


NO_SCHEMA = "the database schema is not applied yet"

MISSING_RIGHTS = (
    "migrations need the role that owns the tables; `cvms migrate --grant-to ROLE`, run with that "
    "one, gives another role the rights that `cvms serve` needs"
)

SHARED_BACKENDS = (
    "DATABASE_URL leads to a pooler that gives a session's connection to others between "
    "transactions, such as PgBouncer with pool_mode = transaction; expected pool_mode = session, "
    "or PostgreSQL itself"
)

PROBE_WRITE = "UPDATE write_probe SET written_at = clock_timestamp()"

# More than `work_mem`, so that it takes space on the disk. Any role may do that.
CLAIM_SPACE = "SELECT count(*) FROM generate_series(1, 10000)"

# Classes of SQLSTATE: failures of the operating system's files, of the data, of the server's code.
SERVER_FAULTS = ("58", "XX")

SET_ISOLATION = {
    psycopg.IsolationLevel.READ_UNCOMMITTED: "SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
    psycopg.IsolationLevel.READ_COMMITTED: "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
    psycopg.IsolationLevel.REPEATABLE_READ: "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    psycopg.IsolationLevel.SERIALIZABLE: "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
}


@asynccontextmanager
async def open_database(
    conninfo: str,
    *,
    size: int = 8,
    acquire_timeout: float = 2.0,
    connect_timeout: float = 2.0,
    query_timeout: float = 10.0,
    max_lifetime: float = 1800.0,
    max_idle: float = 300.0,
    schema: str | None = None,
    metrics: PoolMetrics | None = None,
) -> AsyncIterator[Database]:
    """Yield the database; it connects on first use. All durations are in seconds.

    `schema` takes the place of the schema that the server chooses.
    """
    limits = PoolLimits(
        size=size,
        acquire_timeout=acquire_timeout,
        check_timeout=connect_timeout,
        max_lifetime=max_lifetime,
        max_idle=max_idle,
    )
    database = Database(
        conninfo,
        limits=limits,
        connect_timeout=connect_timeout,
        query_timeout=query_timeout,
        schema=schema,
        metrics=metrics,
    )
    try:
        yield database
    finally:
        database.close()
