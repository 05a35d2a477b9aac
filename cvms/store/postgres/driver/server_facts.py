"""Facts of the server and of the role behind a connection, for checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from psycopg.rows import class_row

from cvms.store.postgres.driver.connection import Connection

# `synchronous_commit` is that of other sessions: ours have their own (cvms.store.postgres.session).
READ = """
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::INTEGER AS version_number,
       current_setting('server_encoding') AS encoding,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       pg_is_in_recovery() OR current_setting('transaction_read_only')::BOOLEAN AS read_only,
       current_setting('max_connections')::INTEGER
           - current_setting('superuser_reserved_connections')::INTEGER AS connections,
       current_user::TEXT AS role,
       current_database()::TEXT AS database,
       coalesce(current_schema(), '')::TEXT AS schema,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       clock_timestamp() AS now
"""

# Of tables of the schema, those that the role does not own.
NOT_OWNED = """
SELECT tablename::TEXT
FROM pg_tables
WHERE schemaname = current_schema()
  AND NOT pg_has_role(tableowner, 'USAGE')
ORDER BY tablename
"""

# Only migrations write the list of them, and nothing changes an entry of the audit trail.
NOT_WRITABLE = """
SELECT tablename::TEXT
FROM pg_tables
WHERE schemaname = current_schema()
  AND NOT (
      has_table_privilege(format('%I.%I', schemaname, tablename), 'SELECT')
      AND (
          tablename = 'schema_migrations'
          OR has_table_privilege(format('%I.%I', schemaname, tablename), 'INSERT')
      )
      AND (
          tablename IN ('schema_migrations', 'audit_logs')
          OR has_table_privilege(format('%I.%I', schemaname, tablename), 'UPDATE')
          AND has_table_privilege(format('%I.%I', schemaname, tablename), 'DELETE')
      )
  )
ORDER BY tablename
"""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """The server's version and settings, and what the role may do in the schema.

    `connections` are those that a role without privileges may have, all together.
    """

    version: str
    version_number: int
    encoding: str
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    read_only: bool
    connections: int
    role: str
    database: str
    schema: str
    may_create: bool
    now: datetime


async def read_server_facts(conn: Connection) -> ServerFacts:
    """Return the facts, one round trip old."""
    async with conn.cursor(row_factory=class_row(ServerFacts)) as cursor:
        await cursor.execute(READ)
        row = await cursor.fetchone()
    assert row is not None
    return row


async def tables_of_others(conn: Connection) -> list[str]:
    """Return the schema's tables that the role does not own, so that it cannot migrate them."""
    return await _names(conn, NOT_OWNED)


async def tables_not_writable(conn: Connection) -> list[str]:
    """Return the schema's tables that the role cannot read or write."""
    return await _names(conn, NOT_WRITABLE)


async def _names(conn: Connection, query: str) -> list[str]:
    cursor = await conn.execute(query.encode())
    return [row[0] for row in await cursor.fetchall()]
