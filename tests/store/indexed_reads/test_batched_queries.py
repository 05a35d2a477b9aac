"""Batched queries give each request what a query of its own would give."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import psycopg
import pytest
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.indexed_reads.batched_queries import BatchedQueries, start_batched_queries
from cvms.store.postgres.database import Database, open_database
from cvms.store.security import nonces
from cvms.store.security.nonces import NewNonce
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import HistoryRow, PageRequest
from cvms.store.vaults.vaults import VaultRow
from tests.store.examples import history_row, store_vault, vault_row
from tests.store.own_server import OwnServer

OWNERS = [f"owner {n}" for n in range(20)]
HOUR = timedelta(hours=1)


@asynccontextmanager
async def opened_queries(database: Database) -> AsyncIterator[BatchedQueries]:
    async with trio.open_nursery() as tasks:
        yield start_batched_queries(database, tasks)
        tasks.cancel_scope.cancel()


async def test_many_requests_at_once_get_what_each_would_get_alone(database: Database) -> None:
    async with database.connection() as conn:
        for n, owner in enumerate(OWNERS):
            await store_vault(conn, vault_row(owner=owner, vault=f"vault {n}", slot=100 + n))
            lines = [history_row(owner=owner, signature=owner, ordinal=o) for o in range(n)]
            await history.add(conn, lines)
    found: dict[str, VaultRow | None] = {}
    pages: dict[str, list[HistoryRow]] = {}

    async with opened_queries(database) as queries:

        async def ask(owner: str) -> None:
            found[owner] = await queries.vault_rows.ask(owner)
            pages[owner] = await queries.history_pages.ask(PageRequest(owner=owner, limit=7))
            await queries.nonces.ask(NewNonce(owner, f"nonce of {owner}", HOUR))

        async with trio.open_nursery() as nursery:
            for owner in (*OWNERS, "nobody"):
                nursery.start_soon(ask, owner)
    async with database.connection() as conn:
        for owner in (*OWNERS, "nobody"):
            assert found[owner] == await vaults.get(conn, owner)
            assert pages[owner] == await history.page(conn, owner, limit=7)
            await nonces.consume(conn, owner, f"nonce of {owner}")


async def test_a_request_reads_what_was_committed_before_it(database: Database) -> None:
    async with opened_queries(database) as queries:

        async def write_and_read(n: int) -> None:
            for slot in range(100, 110):
                async with database.connection() as conn:
                    row = vault_row(owner=OWNERS[n], vault=f"vault {n}", slot=slot)
                    await store_vault(conn, row)
                stored = await queries.vault_rows.ask(OWNERS[n])
                assert stored is not None
                assert stored.slot == slot

        async with trio.open_nursery() as nursery:
            for n in range(len(OWNERS)):
                nursery.start_soon(write_and_read, n)


async def test_a_nonce_that_exists_refuses_no_other(database: Database) -> None:
    refused: list[str] = []
    async with opened_queries(database) as queries:

        async def issue(owner: str, nonce: str) -> None:
            try:
                await queries.nonces.ask(NewNonce(owner, nonce, HOUR))
            except psycopg.errors.UniqueViolation:
                refused.append(owner)

        await issue("first", "nonce 5")
        async with trio.open_nursery() as nursery:
            for n, owner in enumerate(OWNERS):
                nursery.start_soon(issue, owner, f"nonce {n}")
    assert refused == [OWNERS[5]]
    async with database.connection() as conn:
        for n, owner in enumerate(OWNERS):
            if n != 5:
                await nonces.consume(conn, owner, f"nonce {n}")
        await nonces.consume(conn, "first", "nonce 5")


async def test_every_request_learns_at_once_that_the_server_is_down(own_server: OwnServer) -> None:
    errors: list[DatabaseUnavailable] = []
    async with open_database(own_server.uri()) as database:
        await database.prepare()
        async with opened_queries(database) as queries:
            await queries.vault_rows.ask("owner")
            own_server.stop()

            async def ask(owner: str) -> None:
                with pytest.raises(DatabaseUnavailable) as caught:
                    await queries.vault_rows.ask(owner)
                errors.append(caught.value)

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    for owner in OWNERS:
                        nursery.start_soon(ask, owner)
            assert len({id(error) for error in errors}) == len(OWNERS)
            assert not database.available
            own_server.start()
            with trio.fail_after(10):
                while True:
                    try:
                        assert await queries.vault_rows.ask("owner") is None
                        break
                    except DatabaseUnavailable:
                        await trio.sleep(0.05)
