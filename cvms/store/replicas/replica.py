"""A streaming replica: its connections, and whether reads may go to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import psycopg
import structlog
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.circuit_breaker import CircuitBreaker
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.driver.conninfo import server_name
from cvms.store.postgres.outage_kinds import kind_of
from cvms.store.postgres.pool import Pool, PoolLimits
from cvms.store.postgres.session import open_session
from cvms.store.replicas.primary import Primary, read_identity, read_version
from cvms.store.replicas.snapshot import SnapshotReads, SnapshotState, read_state

CONNECT_SECONDS = 2.0
QUERY_SECONDS = 2.0
"""Less than a request may take: the primary has to have time to answer instead."""
CHECK_SECONDS = 2.0
LIMITS = PoolLimits(
    size=8, acquire_timeout=1.0, check_timeout=CONNECT_SECONDS, max_lifetime=1800.0, max_idle=300.0
)

OTHER_CLUSTER = "it is not a replica of DATABASE_URL"
UNKNOWN_PRIMARY = "nothing can be compared with the server of DATABASE_URL"

log = structlog.get_logger(__name__)


class Unfit(DatabaseUnavailable):
    """The replica answers, but reads may not go to it. `kind` says why, in a word."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Replica:
    """A server that replays what `primary` writes.

    Each connection belongs to the primary's cluster, and each snapshot says for itself that the
    server is a standby and how far it is behind. Every failure is raised as DatabaseUnavailable:
    the primary can answer instead.
    """

    def __init__(
        self, number: int, conninfo: str, *, primary: Primary, program: str, max_lag: float
    ) -> None:
        self.number = number
        self.name = server_name(conninfo)
        self.trouble: str | None = "not_checked"
        """Why no reads go to it, in a word; None while they do."""
        self.detail = "not checked yet"
        self.slot = 0
        """The newest slot that it is known to have."""
        self.lag: float | None = None
        """By how many seconds it was behind the primary; None until it has replayed something."""
        self.reads = SnapshotReads(self, program=program)
        self._primary = primary
        self._program = program
        self._max_lag = max_lag
        self._open = partial(
            open_session,
            conninfo,
            connect_timeout=CONNECT_SECONDS,
            query_timeout=QUERY_SECONDS,
            reads_only=True,
        )
        self._circuit_breaker = CircuitBreaker(name=f"read replica {number}, {self.name}")
        self._pool = Pool(
            self._connect,
            limits=LIMITS,
            circuit_breaker=self._circuit_breaker,
            report=self._report,
        )

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in autocommit mode. Raises DatabaseUnavailable."""
        return self._pool.connection()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Lend a connection in a transaction with one snapshot. Raises DatabaseUnavailable."""
        async with self._pool.connection() as connection, connection.transaction():
            yield connection

    def judge(self, state: SnapshotState) -> None:
        """Raise Unfit unless the server is a standby that is not too far behind."""
        self.slot = state.slot
        if not state.in_recovery:
            raise self._left_out("not_in_recovery", "it is not a standby")
        replayed_at = state.replayed_at
        self.lag = None if replayed_at is None else self._primary.seconds_since(replayed_at)
        if self.lag is None:
            raise self._left_out("lagging", "it has replayed nothing since it was started")
        if self.lag > self._max_lag:
            behind = f"{self.lag:.1f} s behind the primary, more than {self._max_lag:g} s"
            raise self._left_out("lagging", behind)

    async def check(self) -> None:
        """Find out whether reads may go to it. Takes at most CHECK_SECONDS."""
        kind, detail = "timeout", f"no answer within {CHECK_SECONDS:g} s"
        with trio.move_on_after(CHECK_SECONDS):
            try:
                async with self.connection() as connection:
                    self.judge(await read_state(connection, self._program))
                    version = await read_version(connection)
                if version == self._primary.version:
                    self._take_in()
                    return
                kind = "other_version"
                detail = f"its schema is of version {version}, not {self._primary.version}"
            except Unfit as error:
                kind, detail = error.kind, str(error)
            except DatabaseUnavailable as error:
                detail = str(error)
                kind = "other_cluster" if detail == OTHER_CLUSTER else kind_of(error)
        self._left_out(kind, detail)

    def discard(self) -> None:
        """Close all connections: they may be those of another cluster's replica."""
        self._pool.discard()

    async def close_at_end(self) -> None:
        """Wait until cancelled, and close the connections that are idle then."""
        try:
            await trio.sleep_forever()
        finally:
            self._pool.close()

    def _take_in(self) -> None:
        if self.trouble is not None:
            log.info("read_replica_used", replica=self.number, server=self.name)
        self.trouble, self.detail = None, "answers"

    def _left_out(self, kind: str, detail: str) -> Unfit:
        if self.trouble != kind:
            log.warning(
                "read_replica_left_out",
                replica=self.number,
                server=self.name,
                kind=kind,
                reason=detail,
            )
        self.trouble, self.detail = kind, detail
        return Unfit(kind, detail)

    async def _connect(self) -> Connection:
        if self._primary.identity is None:
            raise psycopg.OperationalError(f"{UNKNOWN_PRIMARY}: {self._primary.problem}")
        connection = await self._open()
        ours = False
        try:
            identity, _ = await read_identity(connection)
            ours = identity == self._primary.identity
        finally:
            if not ours:
                connection.finish()
        if not ours:
            raise psycopg.OperationalError(OTHER_CLUSTER)
        return connection

    def _report(self, connection: Connection, error: psycopg.Error) -> None:
        if connection.closed:
            self._circuit_breaker.suspect()
        if isinstance(error, psycopg.errors.QueryCanceled) and connection.closed:
            self._circuit_breaker.trip(str(error))
        raise DatabaseUnavailable(str(error).strip()) from error
