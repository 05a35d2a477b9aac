"""Applies the numbered migrations of the schema, each once, by one process at a time.

All that a database lacks are one transaction: it has all of them or none, also if the process is
killed. A migration that cannot lock a table soon lets others pass, and all are tried again.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import psycopg
import structlog
import trio
from psycopg import sql

from cvms.errors import ConfigurationError, DatabaseUnavailable, SchemaMismatch, only
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.migrations import (
    AppliedMigration,
    Migration,
    MigrationState,
    SchemaStatus,
    migrations,
)
from cvms.store.postgres.row_mapping import columns, fetch_all, fetch_column, fetch_value

__all__ = ["Migration", "MigrationState", "apply_schema", "migration_state", "migrations"]

log = structlog.get_logger(__name__)

# "cvms" in ASCII: the key of the advisory lock under which the schema changes.
SCHEMA_LOCK = 0x63766D73

REPORT_SECONDS = 30.0
WATCH_SECONDS = 0.2

LOCK_SECONDS = 2.0
"""How long a statement waits for a table. Requests that come later wait behind it, and some of
them have a deadline of five seconds.
"""
LOCK_ATTEMPTS = 40
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0

LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%(key)s)"

LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"

# The second one exists from PostgreSQL 14 on: the server ends the statement of a killed process.
LIMITS = """
SELECT set_config(name, value, TRUE)
FROM (VALUES
    ('lock_timeout', %(lock_timeout)s),
    ('client_connection_check_interval', '2s')
) AS setting (name, value)
WHERE current_setting(name, TRUE) IS NOT NULL
"""

# A migration may sort a whole history. With what one query of a busy server may take, that is
# merged from hundreds of files, again and again.
MEMORY = """
SELECT set_config(name, greatest(setting::BIGINT, more.kilobytes)::TEXT, TRUE)
FROM pg_settings
JOIN (VALUES ('work_mem', 65536), ('maintenance_work_mem', 262144)) AS more (name, kilobytes)
  USING (name)
"""

BLOCKING = """
SELECT format(
           'process %%s of %%s (%%s, %%s for %%s s)',
           pid, usename, coalesce(nullif(application_name, ''), 'no name'), state,
           round(extract(EPOCH FROM clock_timestamp() - xact_start))
       )
FROM pg_stat_activity
WHERE pid = ANY(pg_blocking_pids(%(pid)s))
"""

CREATE_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""

# The first release made the table without them.
ADD_COLUMNS = """
ALTER TABLE schema_migrations
    ADD COLUMN IF NOT EXISTS checksum TEXT,
    ADD COLUMN IF NOT EXISTS oldest_code INTEGER
"""

HAS_MIGRATIONS = "SELECT to_regclass('schema_migrations') IS NOT NULL"

APPLIED = """
SELECT version, name, to_jsonb(line) ->> 'checksum' AS checksum,
       (to_jsonb(line) ->> 'oldest_code')::INTEGER AS oldest_code
FROM schema_migrations AS line
ORDER BY version
"""

RECORD = """
INSERT INTO schema_migrations (version, name, checksum, oldest_code)
VALUES (%(version)s, %(name)s, %(checksum)s, %(oldest_code)s)
"""

ADD_CHECKSUM = """
UPDATE schema_migrations
SET checksum = %(checksum)s
WHERE version = %(version)s
  AND checksum IS NULL
"""

# Whoever was granted rights gets them on new tables too, in the transaction that makes these.
SERVICE_ROLES = """
SELECT DISTINCT pg_get_userbyid(entry.grantee)
FROM pg_class AS known, aclexplode(known.relacl) AS entry
WHERE known.oid = to_regclass('write_probe')
  AND entry.privilege_type = 'UPDATE'
  AND entry.grantee NOT IN (0, known.relowner)
"""

ROLE = """
SELECT rolname, rolname = current_user AS owner
FROM pg_roles
WHERE rolname = %(role)s
"""

TABLES = """
SELECT tablename
FROM pg_tables
WHERE schemaname = current_schema()
  AND tablename = ANY(%(tables)s)
ORDER BY tablename
"""

GRANT_SCHEMA = "GRANT USAGE ON SCHEMA {schema} TO {role}"
GRANT = "GRANT SELECT, INSERT, UPDATE, DELETE ON {tables} TO {role}"
# What was applied, and the audit trail, are not the service's to change.
REVOKE = """
REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM {role};
REVOKE UPDATE, DELETE ON audit_logs FROM {role}
"""

# As the migrations write them: a column begins a line, a constraint is in capitals.
_TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^    ([a-z_]+) ", re.MULTILINE)

_COLUMNS_OF = """
SELECT table_name || '.' || column_name
FROM information_schema.columns
WHERE table_schema = current_schema()
  AND table_name = ANY(%(tables)s)
"""


async def migration_state(conn: Connection) -> MigrationState:
    """Return how the database's schema compares with this code. Reads only."""
    return (await read_status(conn)).state


async def read_status(conn: Connection, steps: Sequence[Migration] | None = None) -> SchemaStatus:
    """Return which migrations the database has. Reads only.

    Raises SchemaMismatch if another program has filled the database.
    """
    known = migrations() if steps is None else steps
    await _check_tables(conn, _created_columns([CREATE_MIGRATIONS.lstrip()]))
    if not await fetch_value(conn, HAS_MIGRATIONS):
        applied = []
    else:
        applied = await fetch_all(conn, AppliedMigration, APPLIED, {})
    if not applied:
        await _check_tables(conn, _created_columns(each.sql for each in known))
    return SchemaStatus(applied=applied, known=known)


Report = Callable[..., None]
"""Gets an event's name, and what it is about by keyword."""


async def apply_schema(
    conn: Connection,
    steps: Sequence[Migration] | None = None,
    *,
    watcher: Connection | None = None,
    grant_to: str | None = None,
    report: Report | None = None,
) -> SchemaStatus:
    """Apply every migration that this database lacks, all of them or none; return what it had.

    `steps` replaces the migrations of the package. `watcher` is another connection, which finds out
    who keeps a table locked. `grant_to` is a role that gets the rights that serving needs, as those
    do that have them from an earlier call. Raises ConfigurationError if there is no such role,
    SchemaMismatch if another program has filled the database or an
    applied migration has changed, and DatabaseUnavailable if a table stays locked.
    """
    known = migrations() if steps is None else steps
    report = report or log.info
    pause = FIRST_PAUSE_SECONDS
    for attempt in count(1):
        blocking: list[str] = []
        try:
            async with conn.transaction():
                return await _apply(conn, known, report, _Watch(watcher, blocking), grant_to)
        except LOCKED as error:
            others = "; ".join(dict.fromkeys(blocking)) or "another session"
            if attempt == LOCK_ATTEMPTS:
                raise DatabaseUnavailable(
                    f"no migration was applied: a table stays locked by {others}; end that "
                    "session (pg_terminate_backend), or try again when it is idle"
                ) from error
        report("migration_blocked", by=others, attempt=attempt, again_in=pause)
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    raise AssertionError("unreachable")


@dataclass(frozen=True, slots=True)
class _Watch:
    """Finds out on another connection who keeps the migration waiting."""

    watcher: Connection | None
    blocking: list[str]

    async def run(self, pid: int) -> None:
        while self.watcher is not None:
            self.blocking.extend(await fetch_column(self.watcher, BLOCKING, {"pid": pid}))
            await trio.sleep(WATCH_SECONDS)


async def _apply(
    conn: Connection,
    known: Sequence[Migration],
    report: Report,
    watch: _Watch,
    grant_to: str | None,
) -> SchemaStatus:
    if not await fetch_value(conn, TRY_LOCK, {"key": SCHEMA_LOCK}):
        report("schema_lock_awaited", reason="another process applies migrations")
        await conn.execute(LOCK, {"key": SCHEMA_LOCK})
    limits = {"lock_timeout": f"{round(LOCK_SECONDS * 1000)}ms"}
    await conn.execute(LIMITS, limits)
    await conn.execute(MEMORY)
    pid = await fetch_value(conn, "SELECT pg_backend_pid()")
    status = await read_status(conn, known)
    status.check()
    if not status.pending and status.recorded and grant_to is None:
        return status  # without a statement that only the owner of the tables may run
    new = not status.applied  # in a new database nothing takes time
    await conn.execute(CREATE_MIGRATIONS)
    await conn.execute(ADD_COLUMNS)
    for migration in known:
        await conn.execute(
            ADD_CHECKSUM, {"version": migration.version, "checksum": migration.checksum}
        )
    for migration in status.pending:
        about = {"version": migration.version, "subject": migration.name}
        if not new:
            report("migration_started", **about)
        begin = trio.current_time()
        await _run(conn, migration.sql, partial(_report, report, about), partial(watch.run, pid))
        await conn.execute(
            RECORD,
            {name: getattr(migration, name) for name in columns(AppliedMigration)},
        )
        if not new:
            report("migration_applied", **about, seconds=_seconds_since(begin))
    roles = set(await fetch_column(conn, SERVICE_ROLES))
    if grant_to is not None:
        roles.add(await _service_role(conn, grant_to))
    for role in sorted(roles):
        await _grant(conn, role, known)
    return status


async def _service_role(conn: Connection, name: str) -> str:
    cursor = await conn.execute(ROLE, {"role": name})
    row = await cursor.fetchone()
    if row is None:
        raise ConfigurationError(
            f"there is no role {name}; make it first: CREATE ROLE {name} LOGIN PASSWORD '...'"
        )
    if row[1]:
        raise ConfigurationError(
            f"{name} is the role that owns the tables and has every right; expected another role"
        )
    return name


async def _grant(conn: Connection, role: str, known: Sequence[Migration]) -> None:
    """Give a role the rights on this service's tables that serving needs, and no other."""
    created = _created_columns([CREATE_MIGRATIONS.lstrip(), *(each.sql for each in known)])
    tables = await fetch_column(conn, TABLES, {"tables": list(created)})
    names = {
        "schema": sql.Identifier(await fetch_value(conn, "SELECT current_schema()")),
        "tables": sql.SQL(", ").join(map(sql.Identifier, tables)),
        "role": sql.Identifier(role),
    }
    for statement in (GRANT_SCHEMA, GRANT, *REVOKE.split(";")):
        await conn.execute(sql.SQL(statement).format(**names))


async def _run(
    conn: Connection, statements: str, *meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """Execute a migration, and other tasks until it has ended."""
    try:
        async with trio.open_nursery() as nursery:
            for task in meanwhile:
                nursery.start_soon(task)
            await conn.execute(statements.encode())
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise only(group) from None


async def _report(report: Report, about: Mapping[str, object]) -> None:
    begin = trio.current_time()
    while True:
        await trio.sleep(REPORT_SECONDS)
        report("migration_running", **about, seconds=_seconds_since(begin))


def _seconds_since(begin: float) -> float:
    return round(trio.current_time() - begin, 1)


def _created_columns(statements: Iterable[str]) -> dict[str, set[str]]:
    """Return the columns with which migrations create their tables."""
    return {
        table: set(_COLUMN.findall(body))
        for sql in statements
        for table, body in _TABLE.findall(sql)
    }


async def _check_tables(conn: Connection, created: Mapping[str, set[str]]) -> None:
    """Raise SchemaMismatch if a table is there by one of these names, with other columns."""
    found: dict[str, set[str]] = {}
    for name in await fetch_column(conn, _COLUMNS_OF, {"tables": list(created)}):
        table, _, column = name.partition(".")
        found.setdefault(table, set()).add(column)
    foreign = sorted(table for table, columns in found.items() if not created[table] <= columns)
    if foreign:
        raise SchemaMismatch(
            "DATABASE_URL leads to a database with tables of another program: "
            f"{', '.join(foreign)} without the columns of this service's; expected an empty "
            "database, or one of this service"
        )
