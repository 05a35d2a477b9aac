"""Databases with the schema applied, and a PostgreSQL server that tests stop and freeze."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from cvms.store.postgres.database import Database, open_database
from tests.store.own_server import OwnServer, execute

EMPTY = """
DELETE FROM vaults;
DELETE FROM maturities;
DELETE FROM protocol_apy;
DELETE FROM yield_policies;
DELETE FROM transactions;
DELETE FROM account_offsets;
DELETE FROM vault_mints;
DELETE FROM balance_history;
DELETE FROM flows;
DELETE FROM tvl_hours;
DELETE FROM vault_sizes;
DELETE FROM chain_events;
DELETE FROM event_totals;
DELETE FROM indexer_cursor;
DELETE FROM outbox;
DELETE FROM outbox_topics;
UPDATE outbox_head SET position = 0;
DELETE FROM nonces;
DELETE FROM twofa;
DELETE FROM audit_logs;
UPDATE audit_head SET id = 0, hash = decode(repeat('00', 32), 'hex');
DELETE FROM submissions;
DELETE FROM sponsored;
DELETE FROM reconciliation_logs;
DELETE FROM alerts;
"""


@pytest.fixture(scope="session")
def prepared_url(postgres_server: str) -> str:
    """The URI of a database with the schema, shared since creating one takes too long."""
    execute(postgres_server, "CREATE DATABASE cvms_prepared")
    url = postgres_server.replace("/postgres?", "/cvms_prepared?")
    trio.run(_prepare, url)
    return url


async def _prepare(url: str) -> None:
    async with open_database(url) as database:
        await database.prepare()


@pytest.fixture
def empty_url(prepared_url: str) -> str:
    """The URI of a database with the schema and without rows."""
    execute(prepared_url, EMPTY)
    return prepared_url


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    """Open, prepared and empty, for tests that leave the tables as they are."""
    async with open_database(empty_url) as database:
        await database.prepare()
        yield database


@pytest.fixture
async def own_database(database_url: str) -> AsyncIterator[Database]:
    """Open, prepared and empty, for tests that add tables of their own."""
    async with open_database(database_url) as database:
        await database.prepare()
        yield database


@pytest.fixture(scope="session")
def _server_of_session() -> Iterator[OwnServer]:
    with tempfile.TemporaryDirectory(prefix="cvms-own-pg-") as folder:
        server = OwnServer(Path(folder))
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture
def own_server(_server_of_session: OwnServer) -> Iterator[OwnServer]:
    """A running PostgreSQL on loopback TCP, whatever the previous test did to it."""
    _server_of_session.start()
    yield _server_of_session
    _server_of_session.thaw()
