"""Lists reach the server as the arrays that psycopg's own dumper makes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import psycopg
import pytest

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.session import open_session

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ELSEWHERE = datetime(2026, 1, 2, 14, 30, 0, 5, tzinfo=timezone(timedelta(hours=2, minutes=30)))


class Kind(StrEnum):
    DEPOSIT = "deposit"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await open_session(database_url, connect_timeout=5, query_timeout=10)
    yield connection
    connection.finish()


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("TEXT", []),
        ("TEXT", [""]),
        ("TEXT", ["", "NULL", "null", " a ", "\t\n\r\v"]),
        ("TEXT", ['"', "\\", '\\"', '","', "{", "}", "{a,b}", ",", "'", "\\\\n"]),
        ("TEXT", ["é", "\u2003", "\U0001f600", "\x01", "\x7f"]),
        ("TEXT", [None, "a", None]),
        ("TEXT", [None]),
        ("TEXT", [Kind.DEPOSIT, Kind.DEPOSIT]),
        ("BIGINT", [0, -1, 2**63 - 1, -(2**63)]),
        ("BIGINT", [None, 7, None]),
        ("NUMERIC", [2**64, -(2**70), None]),
        ("BOOLEAN", [True, False, None]),
        ("TIMESTAMPTZ", [NOON, NOON, None, ELSEWHERE]),
        ("TEXT", [["a", 'b"'], ["", "\\"]]),
        ("DOUBLE PRECISION", [0.1, 1e300]),
    ],
)
async def test_the_server_reads_what_was_written(
    connection: Connection, kind: str, values: list[Any]
) -> None:
    query = f"SELECT %s::{kind}[]".encode()
    [returned] = await (await connection.execute(query, [values])).fetchone() or [None]
    assert returned == values


async def test_a_list_has_the_type_of_its_elements(connection: Connection) -> None:
    for values, kind in (([1], "smallint[]"), ([2**40], "bigint[]"), ([NOON], "timestamp with")):
        cursor = await connection.execute("SELECT pg_typeof(%s)::TEXT", [values])
        [shown] = await cursor.fetchone() or [""]
        assert shown.startswith(kind)


async def test_texts_that_postgresql_cannot_hold_and_mixed_lists_are_refused(
    connection: Connection,
) -> None:
    for values in (["a\0b"], ["a", 1]):
        with pytest.raises(psycopg.DataError):
            await connection.execute("SELECT %s::TEXT[]", [values])
