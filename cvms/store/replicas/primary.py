"""The server that is written to, as its replicas are compared with it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.replicas.snapshot import SnapshotState

# A replica has all of this in common with its primary, and no other server has.
READ = """
SELECT control.system_identifier AS cluster,
       own.oid::BIGINT AS database,
       current_schema() AS schema,
       clock_timestamp() AS clock
FROM pg_control_system() AS control
JOIN pg_database AS own
  ON own.datname = current_database()
"""

VERSION = """
SELECT max(version)
FROM schema_migrations
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """The cluster of a server, the database in it, and the schema of the service's tables."""

    cluster: int
    database: int
    schema: str | None


class Primary:
    """Reads from snapshots of the primary, and what is known of it.

    `identity` and `version` are None until `check` has succeeded once; then they remain while the
    primary is unavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clock_offset = 0.0
        self.identity: Identity | None = None
        self.problem = "it has not been asked yet"
        """Why its identity is not known."""
        self.version: int | None = None

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in autocommit mode. Raises DatabaseUnavailable."""
        return self._database.connection()

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection in a transaction with one snapshot. Raises DatabaseUnavailable."""
        return self._database.transaction(isolation=psycopg.IsolationLevel.REPEATABLE_READ)

    def judge(self, state: SnapshotState) -> None:
        """Do nothing: nothing is newer."""

    def seconds_since(self, moment: datetime) -> float:
        """Return the age of a moment that the primary's clock showed."""
        return trio.current_time() + self._clock_offset - moment.timestamp()

    async def check(self) -> None:
        """Read the identity, the version and the clock. Raises DatabaseUnavailable."""
        try:
            async with self._database.connection() as conn:
                identity, clock = await read_identity(conn)
                self.version = await read_version(conn)
        except psycopg.errors.InsufficientPrivilege as error:  # some providers take it away
            self.problem = str(error).strip()
            raise DatabaseUnavailable(self.problem) from error
        self.identity = identity
        self._clock_offset = clock.timestamp() - trio.current_time()


async def read_identity(conn: Connection) -> tuple[Identity, datetime]:
    """Return the identity of a server, and the time that its clock shows."""
    row = await (await conn.execute(READ)).fetchone()
    assert row is not None
    *identity, clock = row
    return Identity(*identity), clock


async def read_version(conn: Connection) -> int | None:
    """Return the last migration that a server has."""
    version: int | None = await fetch_value(conn, VERSION)
    return version
