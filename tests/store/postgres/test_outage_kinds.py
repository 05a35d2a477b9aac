"""Outages of the database are told apart by kinds that name no host."""

from __future__ import annotations

import socket

import pytest
from psycopg.conninfo import make_conninfo

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database, open_database
from cvms.store.postgres.outage_kinds import kind_of


async def kind_at(conninfo: str) -> str:
    """Return the kind of the outage, twice: as the driver and as the circuit breaker tell it."""
    async with open_database(conninfo, connect_timeout=0.5) as database:
        with pytest.raises(DatabaseUnavailable) as first:
            await database.probe()
        with pytest.raises(DatabaseUnavailable) as second:
            await database.probe()
    assert "\n" not in str(first.value)
    assert second.value.__cause__ is None
    assert kind_of(first.value) == kind_of(second.value)
    return kind_of(first.value)


async def test_nobody_listens() -> None:
    assert await kind_at("postgresql://u:pw@127.0.0.1:1/ssl") == "refused"
    assert await kind_at("postgresql://u:pw@%2Fno-such-folder/db") == "refused"


async def test_a_name_does_not_resolve() -> None:
    assert await kind_at("postgresql://u:pw@nowhere.invalid/db") == "name_not_resolved"


async def test_the_server_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert await kind_at(f"postgresql://u:pw@127.0.0.1:{port}/db") == "timeout"


async def test_the_database_does_not_exist(database_url: str) -> None:
    assert await kind_at(make_conninfo(database_url, dbname="ssl")) == "no_such_database"


async def test_the_user_does_not_exist(database_url: str) -> None:
    assert await kind_at(make_conninfo(database_url, user="ssl")) == "authentication"


async def test_the_server_is_not_the_wanted_one(database_url: str) -> None:
    standby = make_conninfo(database_url, target_session_attrs="standby")
    assert await kind_at(standby) == "unavailable"


async def test_a_state_of_the_server_decides(database_url: str) -> None:
    async with open_database(database_url) as database:
        for state, kind in (
            ("53100", "disk_full"),
            ("53300", "too_many_connections"),
            ("57P03", "starting"),
            ("57P01", "connection_lost"),
            ("57014", "timeout"),
        ):
            with pytest.raises(DatabaseUnavailable) as raised:
                await raise_state(database, state)
            assert kind_of(raised.value) == kind


async def raise_state(database: Database, state: str) -> None:
    async with database.dedicated() as connection:
        statement = f"DO $$ BEGIN RAISE EXCEPTION 'ja' USING ERRCODE = '{state}'; END $$"
        await connection.execute(statement.encode())


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("the database schema is not applied yet", "no_schema"),
        ("no connection came free in 2 s", "busy"),
        ('connection to "starting up" failed: FATAL:  sorry, too many clients already', "too_many"),
        ("FATAL:  the database system is starting up", "starting"),
        ("cannot execute UPDATE in a read-only transaction", "read_only"),
        ('FATAL: could not write init file "a": No space left on device', "disk_full"),
        ("server does not support SSL, but SSL was required", "tls"),
        ("server closed the connection unexpectedly", "connection_lost"),
        ("FATAL:  el sistema no quiere", "unavailable"),
    ],
)
def test_without_a_state_the_words_decide(text: str, kind: str) -> None:
    assert kind_of(DatabaseUnavailable(text)).startswith(kind)
