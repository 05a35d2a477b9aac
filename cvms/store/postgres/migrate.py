"""Applies the numbered migrations of the schema, each once, by one process at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import structlog
import trio

from cvms.errors import ConfigurationError, only
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_column, fetch_value

log = structlog.get_logger(__name__)

# "cvms" in ASCII: the key of the advisory lock under which the schema changes.
SCHEMA_LOCK = 0x63766D73

REPORT_SECONDS = 30.0

TRY_LOCK = "SELECT pg_try_advisory_xact_lock(%(key)s)"

LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"

CREATE_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""

MIGRATIONS_TABLE = "SELECT to_regclass('schema_migrations') IS NOT NULL"

APPLIED = """
SELECT version
FROM schema_migrations
"""

RECORD = """
INSERT INTO schema_migrations (version, name)
VALUES (%(version)s, %(name)s)
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


@dataclass(frozen=True, slots=True)
class Migration:
    """One file migrations/<version>_<subject>.sql; its first line is `-- <name>`."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """Return the migrations in order of their version."""
    folder = resources.files("cvms.store.postgres") / "migrations"
    texts = {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
    return [
        Migration(
            version=int(name.partition("_")[0]),
            name=text.partition("\n")[0].removeprefix("-- "),
            sql=text,
        )
        for name, text in sorted(texts.items())
    ]


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Versions of migrations: those applied, those that are not yet, and those of newer code."""

    applied: frozenset[int]
    pending: tuple[int, ...]
    newer: tuple[int, ...]


async def schema_state(conn: Connection) -> SchemaState:
    """Return the state of the schema, and change nothing.

    Raises ConfigurationError if another program has filled the database.
    """
    known = migrations()
    await _check_tables(conn, _created_columns([CREATE_MIGRATIONS.lstrip()]))
    there = await fetch_value(conn, MIGRATIONS_TABLE)
    applied = frozenset(await fetch_column(conn, APPLIED) if there else [])
    if not applied:
        await _check_tables(conn, _created_columns(each.sql for each in known))
    versions = {each.version for each in known}
    return SchemaState(
        applied=applied,
        pending=tuple(sorted(versions - applied)),
        newer=tuple(sorted(applied - versions)),
    )


async def apply_schema(conn: Connection, steps: Sequence[Migration] | None = None) -> None:
    """Apply every migration that this database lacks, all of them or none.

    `steps` replaces the migrations of the package. Raises ConfigurationError if another program has
    filled the database.
    """
    async with conn.transaction():
        if not await fetch_value(conn, TRY_LOCK, {"key": SCHEMA_LOCK}):
            log.info("schema_lock_awaited", reason="another process applies migrations")
            await conn.execute(LOCK, {"key": SCHEMA_LOCK})
        wanted = migrations() if steps is None else steps
        await _check_tables(conn, _created_columns([CREATE_MIGRATIONS.lstrip()]))
        await conn.execute(CREATE_MIGRATIONS)
        applied = set(await fetch_column(conn, APPLIED))
        if not applied:
            await _check_tables(conn, _created_columns(each.sql for each in wanted))
        for migration in wanted:
            if migration.version not in applied:
                about = {"version": migration.version, "subject": migration.name}
                if applied:  # in a new database nothing takes time
                    log.info("migration_started", **about)
                begin = trio.current_time()
                await _run(conn, migration.sql, about)
                await conn.execute(RECORD, {"version": migration.version, "name": migration.name})
                if applied:
                    log.info("migration_applied", **about, seconds=_seconds_since(begin))


async def _run(conn: Connection, statements: str, about: Mapping[str, object]) -> None:
    """Execute a migration, and log now and then that it is still running."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report, about)
            await conn.execute(statements.encode())
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise only(group) from None


async def _report(about: Mapping[str, object]) -> None:
    begin = trio.current_time()
    while True:
        await trio.sleep(REPORT_SECONDS)
        log.info("migration_running", **about, seconds=_seconds_since(begin))


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
    """Raise ConfigurationError if a table is there by one of these names, with other columns."""
    found: dict[str, set[str]] = {}
    for name in await fetch_column(conn, _COLUMNS_OF, {"tables": list(created)}):
        table, _, column = name.partition(".")
        found.setdefault(table, set()).add(column)
    foreign = sorted(table for table, columns in found.items() if not created[table] <= columns)
    if foreign:
        raise ConfigurationError(
            "DATABASE_URL leads to a database with tables of another program: "
            f"{', '.join(foreign)} without the columns of this service's; expected an empty "
            "database, or one of this service"
        )
