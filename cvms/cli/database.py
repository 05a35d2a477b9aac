"""The database of a command, whose schema another process has applied."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from cvms.errors import DatabaseUnavailable, only
from cvms.store.postgres.database import Database, open_database

NO_SCHEMA = "the database schema is not applied yet, or is of another version; run `cvms migrate`"


@asynccontextmanager
async def open_with_schema(url: str) -> AsyncIterator[Database]:
    """Yield the database. Raises DatabaseUnavailable if its schema is not that of this version."""
    try:
        async with open_database(url) as database:
            database.schema_ready = True  # if it is not, the first query says so
            yield database
    except (psycopg.ProgrammingError, ExceptionGroup) as error:
        missing = psycopg.errors.UndefinedTable | psycopg.errors.UndefinedColumn
        if not isinstance(only(error), missing):
            raise
        raise DatabaseUnavailable(NO_SCHEMA) from error
