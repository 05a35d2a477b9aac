"""Lists reach the server as the arrays that psycopg's own dumper makes of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.types.array import ListDumper

from cvms.store.postgres.driver.array_dumper import ArrayDumper
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.session import open_session
from tests.chain.made_up import unhurried

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ELSEWHERE = datetime(2026, 1, 2, 14, 30, 0, 5, tzinfo=timezone(timedelta(hours=2, minutes=30)))
BEFORE_THE_CHANGE = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
AFTER_THE_CHANGE = BEFORE_THE_CHANGE.replace(fold=1)
"""An hour later, though the two compare as equal."""


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
        ("TIMESTAMPTZ", [BEFORE_THE_CHANGE, AFTER_THE_CHANGE, None]),
        ("TEXT", [["a", 'b"'], ["", "\\"]]),
        ("DOUBLE PRECISION", [0.1, 1e300]),
    ],
)
async def test_the_server_reads_what_was_written(
    connection: Connection, kind: str, values: list[Any]
) -> None:
    query = f"SELECT %s::{kind}[]".encode()
    [returned] = await (await connection.execute(query, [values])).fetchone() or [[]]
    assert [_instant(each) for each in returned] == [_instant(each) for each in values]


def _instant(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


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


TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"])
) | st.sampled_from(["NULL", "null", "{}", '"', "\\", '\\"', '","', "\\\\", "'", " ", ""])
ZONES = st.none() | st.sampled_from(
    [UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(seconds=-3601))]
)
TIMES = ZONES.flatmap(lambda zone: st.lists(st.none() | st.datetimes(timezones=st.just(zone))))


@pytest.mark.parametrize(
    ("kind", "lists"),
    [
        ("TEXT", st.lists(TEXTS)),
        ("TEXT", st.lists(TEXTS | st.none())),
        ("NUMERIC", st.lists(st.integers() | st.none())),
        ("BIGINT", st.lists(st.integers(-(2**63), 2**63 - 1))),
        ("BOOLEAN", st.lists(st.booleans() | st.none())),
        ("TIMESTAMPTZ", TIMES),
    ],
)
async def test_any_list_is_to_the_server_what_psycopg_makes_of_it(
    connection: Connection, kind: str, lists: st.SearchStrategy[list[Any]]
) -> None:
    ours, theirs = list[bytes | None](), list[bytes | None]()

    @unhurried
    @given(lists)
    def dump(values: list[Any]) -> None:
        for dumped, dumper in ((ours, ArrayDumper), (theirs, ListDumper)):
            text = dumper(list, connection).dump(values)
            dumped.append(None if text is None else bytes(text))

    dump()
    for mine, other in zip(ours, theirs, strict=True):
        query = f"SELECT %s::TEXT::{kind}[] IS NOT DISTINCT FROM %s::TEXT::{kind}[]".encode()
        texts = [None if each is None else each.decode() for each in (mine, other)]
        [same] = await (await connection.execute(query, texts)).fetchone() or [False]
        assert same, texts


async def test_texts_are_written_in_utf_8_whatever_the_url_says(database_url: str) -> None:
    separator = "&" if "?" in database_url else "?"
    url = f"{database_url}{separator}client_encoding=LATIN1"
    connection = await open_session(url, connect_timeout=5, query_timeout=10)
    values = ["é", "\U0001f600"]
    [returned] = await (await connection.execute("SELECT %s::TEXT[]", [values])).fetchone() or [0]
    connection.finish()
    assert returned == values
