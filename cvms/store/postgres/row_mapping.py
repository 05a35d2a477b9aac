"""Row classes and their SQL: column lists from the fields, rows in and out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from types import NoneType
from typing import Any, Literal, LiteralString, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from psycopg.rows import kwargs_row
from psycopg.types.json import Jsonb

from cvms.store.postgres.driver.connection import Connection

T = TypeVar("T")
StructT = TypeVar("StructT", bound=msgspec.Struct)

DELETED_AT_ONCE = 10_000
"""Rows deleted by one statement: no lock is held for long, and no work is lost at a timeout."""

SQL_TYPES: Mapping[Any, str] = {
    str: "TEXT",
    Literal: "TEXT",
    bool: "BOOLEAN",
    int: "BIGINT",
    Decimal: "NUMERIC",
    datetime: "TIMESTAMPTZ",
    dict: "JSONB",
    tuple: "TEXT[]",
}


class _Columns(list[str]):
    def __format__(self, table: str) -> str:
        return ", ".join(f"{table}.{name}" if table else name for name in self)


def columns(row: type, *, without: Collection[str] = ()) -> list[str]:
    """Return the names of the columns that fill a row class, which are those of its fields."""
    if issubclass(row, msgspec.Struct):
        names = list(row.__struct_fields__)
    else:
        names = [field.name for field in fields(row)]  # type: ignore[arg-type]
    return [name for name in names if name not in without]


def query_for(
    row: type,
    text: LiteralString,
    *,
    key: Collection[str] = (),
    without: Collection[str] = (),
    sql_types: Mapping[Any, str] = SQL_TYPES,
) -> LiteralString:
    """Return a query with the columns of a row class filled in, except those in `without`.

    {columns}      owner, slot
    {columns:p}    p.owner, p.slot
    {values}       %(owner)s, %(slot)s
    {arrays}       %(owner)s::TEXT[], %(slot)s::BIGINT[]; JSON is left out, see `json_array`
    {definitions}  owner TEXT, slot BIGINT
    {updates}      slot = EXCLUDED.slot; the columns in `key` are left out
    """
    names = columns(row, without=without)
    types = {}
    if "{arrays}" in text or "{definitions}" in text:
        hints = get_type_hints(row)
        types = {name: sql_types[_python_type(hints[name])] for name in names}
    lists = {
        "columns": _Columns(names),
        "values": ", ".join(f"%({name})s" for name in names),
        "arrays": ", ".join(f"%({n})s::{t}[]" for n, t in types.items() if t != "JSONB"),
        "definitions": ", ".join(f"{name} {type_}" for name, type_ in types.items()),
        "updates": ", ".join(f"{name} = EXCLUDED.{name}" for name in names if name not in key),
    }
    return text.format_map(lists)


async def fetch_one(
    conn: Connection, row: Callable[..., T], query: LiteralString, params: Mapping[str, Any]
) -> T | None:
    """Return the first row, its columns passed to `row` by name; None if there is none."""
    async with conn.cursor(row_factory=kwargs_row(row)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchone()


async def fetch_exactly_one(
    conn: Connection, row: Callable[..., T], query: LiteralString, params: Mapping[str, Any]
) -> T:
    """Return the row of a query that always has one; as `fetch_one`."""
    found = await fetch_one(conn, row, query, params)
    assert found is not None
    return found


async def fetch_all(
    conn: Connection, row: Callable[..., T], query: LiteralString, params: Mapping[str, Any]
) -> list[T]:
    """Return every row, its columns passed to `row` by name."""
    async with conn.cursor(row_factory=kwargs_row(row)) as cursor:
        await cursor.execute(query, params)
        return await cursor.fetchall()


async def fetch_structs(
    conn: Connection, row: type[StructT], query: LiteralString, params: Mapping[str, Any]
) -> list[StructT]:
    """Return every row of a query whose columns are the fields of `row`, which is `array_like`.

    That takes a twentieth of the time of `fetch_all`, which counts where there are many rows.
    """
    cursor = await conn.execute(query, params)
    return msgspec.convert(await cursor.fetchall(), list[row])  # type: ignore[valid-type]


async def fetch_value(
    conn: Connection, query: LiteralString, params: Mapping[str, Any] | None = None
) -> Any:
    """Return the first column of the first row; None if there is none."""
    row = await (await conn.execute(query, params)).fetchone()
    return None if row is None else row[0]


async def fetch_column(
    conn: Connection, query: LiteralString, params: Mapping[str, Any] | None = None
) -> list[Any]:
    """Return the first column of every row."""
    return [row[0] for row in await (await conn.execute(query, params)).fetchall()]


async def delete_in_batches(
    conn: Connection, query: LiteralString, params: Mapping[str, Any]
) -> int:
    """Repeat a DELETE of up to %(limit)s rows until it finds fewer; return how many it deleted."""
    deleted = 0
    while True:
        count = (await conn.execute(query, {**params, "limit": DELETED_AT_ONCE})).rowcount
        deleted += count
        if count < DELETED_AT_ONCE:
            return deleted


def by_column(rows: Sequence[object], names: Iterable[str]) -> dict[str, list[Any]]:
    """Return one array for each column: INSERT ... SELECT FROM unnest() stores all rows at once."""
    return {name: list(map(attrgetter(name), rows)) for name in names}


def json_array(values: Iterable[object]) -> Jsonb:
    """Return the values as one JSON array for jsonb_array_elements(), far cheaper than JSONB[]."""
    return Jsonb(list(values), dumps=msgspec.json.encode)


def _python_type(hint: Any) -> Any:
    """Return the bare type of a field's hint: `int` of `int | None`, `dict` of `dict[str, Any]`."""
    if type(None) in get_args(hint):
        hint = next(part for part in get_args(hint) if part is not NoneType)
    return get_origin(hint) or hint
