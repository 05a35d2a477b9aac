"""Recognition of a database that another program has filled, before a migration touches it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from cvms.errors import ConfigurationError
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_column

# As the migrations write them: a column begins a line, a constraint is in capitals.
_TABLE = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+) \(\n(.*?)^\)", re.MULTILINE | re.DOTALL)
_COLUMN = re.compile(r"^    ([a-z_]+) ", re.MULTILINE)

COLUMNS = """
SELECT table_name || '.' || column_name
FROM information_schema.columns
WHERE table_schema = current_schema()
  AND table_name = ANY(%(tables)s)
"""


def created_columns(statements: Iterable[str]) -> dict[str, set[str]]:
    """Return the columns with which migrations create their tables."""
    return {
        table: set(_COLUMN.findall(body))
        for sql in statements
        for table, body in _TABLE.findall(sql)
    }


async def check_tables(conn: Connection, created: Mapping[str, set[str]]) -> None:
    """Raise ConfigurationError if a table is there by one of these names, with other columns."""
    found: dict[str, set[str]] = {}
    for name in await fetch_column(conn, COLUMNS, {"tables": list(created)}):
        table, _, column = name.partition(".")
        found.setdefault(table, set()).add(column)
    foreign = sorted(table for table, columns in found.items() if not created[table] <= columns)
    if foreign:
        raise ConfigurationError(
            "DATABASE_URL leads to a database with tables of another program: "
            f"{', '.join(foreign)} without the columns of this service's; expected an empty "
            "database, or one of this service"
        )
