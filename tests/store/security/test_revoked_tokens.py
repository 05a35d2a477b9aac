"""Revoked tokens: by id or by person, read now and then, and forgotten once they have expired."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import revoked_tokens
from cvms.store.security.revoked_tokens import Revocation, RevocationList


class CountingDatabase(Database):
    """A database that counts the connections it lends, and may refuse to."""

    lent = 0
    refuses = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        if self.refuses:
            raise DatabaseUnavailable("away")
        self.lent += 1
        async with super().connection() as conn:
            yield conn


@pytest.fixture
def counting(database: Database) -> CountingDatabase:
    counting = object.__new__(CountingDatabase)
    counting.__dict__.update(database.__dict__)
    return counting


async def test_a_token_is_revoked_by_its_id_or_with_others_of_its_person(
    database: Database,
) -> None:
    async with database.transaction() as conn:
        await revoked_tokens.add(conn, Revocation(token_id="one"), by="test")
        await revoked_tokens.add(conn, Revocation(person="carol", issued_before=100), by="test")
        await revoked_tokens.add(conn, Revocation(person="carol", issued_before=50), by="test")
        revoked = await revoked_tokens.read(conn)
    assert ("one", "bob", 200) in revoked
    assert ("two", "carol", 99) in revoked
    assert (None, "carol", 99) in revoked
    assert ("two", "carol", 100) not in revoked
    assert (None, "bob", 0) not in revoked


async def test_many_requests_cost_one_reading(counting: CountingDatabase) -> None:
    tokens = RevocationList(counting)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(tokens.current)
    assert counting.lent == 1


async def test_without_the_database_nobody_tells_what_is_revoked(
    counting: CountingDatabase,
) -> None:
    tokens = RevocationList(counting)
    counting.refuses = True
    with pytest.raises(DatabaseUnavailable):
        await tokens.current()
    assert ("one", "carol", 1) not in tokens.last_read


async def test_a_revocation_is_forgotten_when_its_tokens_have_expired(database: Database) -> None:
    async with database.transaction() as conn:
        for token_id in ("old", "new"):
            await revoked_tokens.add(conn, Revocation(token_id=token_id), by="test")
        later = Revocation(person="carol", issued_before=2**33)
        await revoked_tokens.add(conn, later, by="test")
        await conn.execute(
            "UPDATE revoked_tokens SET revoked_at = now() - INTERVAL '3 days' "
            "WHERE token_id IS DISTINCT FROM 'new'"
        )
        assert await revoked_tokens.prune(conn, timedelta(days=2)) == 1
        left = await revoked_tokens.rows(conn)
    assert [(row.token_id, row.person) for row in left] == [("new", None), (None, "carol")]
