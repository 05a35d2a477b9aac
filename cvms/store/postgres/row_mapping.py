"""Rows in and out: one row as a value, many rows as one array for each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, LiteralString, TypeVar

import msgspec
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection

T = TypeVar("T")


async def fetch_one(
    conn: Connection, row: type[T], query: LiteralString, params: Mapping[str, Any]
) -> T | None:
    """The first row, its columns given to `row` by name."""
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchone()


async def fetch_all(
    conn: Connection, row: type[T], query: LiteralString, params: Mapping[str, Any]
) -> list[T]:
    """Every row, its columns given to `row` by name."""
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchall()


def by_column(rows: Sequence[object], names: Iterable[str]) -> dict[str, list[Any]]:
    """The rows turned into arrays, for INSERT ... SELECT FROM unnest(): one statement for all."""
    return {name: list(map(attrgetter(name), rows)) for name in names}


def json_array(values: Iterable[object]) -> Jsonb:
    """The values as one JSON array, for jsonb_array_elements(): far cheaper than a JSONB[]."""
    return Jsonb(list(values), dumps=msgspec.json.encode)
