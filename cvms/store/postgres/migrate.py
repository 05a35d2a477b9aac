"""Applies schema.sql: numbered migrations, each once, by one process at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from psycopg.rows import scalar_row

from cvms.store.postgres.driver.connection import Connection

# "cvms" in ASCII: the key of the advisory lock under which the schema changes.
SCHEMA_LOCK = 0x63766D73

LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"

CREATE_MIGRATIONS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)
"""

APPLIED = """
SELECT version
FROM schema_migrations
"""

RECORD = """
INSERT INTO schema_migrations (version, name)
VALUES (%(version)s, %(name)s)
"""

_HEADING = re.compile(r"^-- migration (\d+): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """A section of schema.sql, from its `-- migration <version>: <name>` line to the next."""

    version: int
    name: str
    sql: str


def migrations() -> list[Migration]:
    """The sections of schema.sql in order."""
    text = resources.files("cvms.store").joinpath("schema.sql").read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    sections = zip(parts[0::3], parts[1::3], parts[2::3], strict=True)
    return [Migration(int(version), name, sql) for version, name, sql in sections]


async def apply_schema(conn: Connection, steps: Sequence[Migration] | None = None) -> None:
    """Apply every migration that this database has not seen, all of them or none.

    `steps` are the sections of schema.sql unless given.
    """
    async with conn.transaction():
        await conn.execute(LOCK, {"key": SCHEMA_LOCK})
        await conn.execute(CREATE_MIGRATIONS)
        async with conn.cursor(row_factory=scalar_row) as cursor:
            await cursor.execute(APPLIED)
            applied = set(await cursor.fetchall())
        for migration in migrations() if steps is None else steps:
            if migration.version not in applied:
                await conn.execute(migration.sql.encode())
                await conn.execute(RECORD, {"version": migration.version, "name": migration.name})
