"""Administrators' tokens that were revoked before they expire, as all processes see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import trio

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import delete_in_batches, fetch_all, query_for

REFRESH_SECONDS = 1.0
"""Between two readings of a process, by which it learns of revocations."""
MAX_AGE_SECONDS = 2.0
"""After which a request reads them itself, since a reading has not come through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One token by its id, or all tokens of a person that were issued before a time.

    The time is in Unix seconds.
    """

    token_id: str | None = None
    person: str | None = None
    issued_before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedRow(Revocation):
    """A revocation as stored."""

    revoked_by: str
    revoked_at: datetime


ADD = """
INSERT INTO revoked_tokens (token_id, person, issued_before, revoked_by)
VALUES (%(token_id)s, %(person)s, %(issued_before)s, %(revoked_by)s)
"""

ALL = query_for(
    RevokedRow,
    """
    SELECT {columns}
    FROM revoked_tokens
    ORDER BY id
    """,
)

PRUNE = """
DELETE FROM revoked_tokens
WHERE id IN (
    SELECT id
    FROM revoked_tokens
    WHERE greatest(revoked_at, to_timestamp(issued_before)) < now() - %(age)s
    ORDER BY id
    LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True)
class RevokedTokens:
    """The tokens that are revoked, by id and by person."""

    ids: frozenset[str] = frozenset()
    issued_before: Mapping[str, int] = field(default_factory=dict)

    def __contains__(self, token: tuple[str | None, str, int]) -> bool:
        """Return whether a token is revoked: its id, its person, when it was issued."""
        token_id, person, issued_at = token
        return token_id in self.ids or issued_at < self.issued_before.get(person, 0)


class RevocationList:
    """The revoked tokens as one process knows them, so that no request needs a query."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens = RevokedTokens()
        self._read_at = float("-inf")
        self._reading = trio.Lock()

    async def keep_current(self) -> None:
        """Read them every `REFRESH_SECONDS`, while the database answers, until cancelled."""
        while True:
            with suppress(DatabaseUnavailable):
                async with self._reading:
                    await self._read()
            await trio.sleep(REFRESH_SECONDS)

    @property
    def last_read(self) -> RevokedTokens:
        """What was read last, however long ago."""
        return self._tokens

    async def current(self) -> RevokedTokens:
        """Return the revoked tokens as of `MAX_AGE_SECONDS` ago or later.

        Raises DatabaseUnavailable: without the database nobody can tell which tokens are revoked.
        """
        if self._is_fresh():
            return self._tokens
        async with self._reading:
            if not self._is_fresh():
                await self._read()
        return self._tokens

    async def _read(self) -> None:
        began = trio.current_time()
        async with self._database.connection() as conn:
            self._tokens = await read(conn)
        self._read_at = began

    def _is_fresh(self) -> bool:
        return trio.current_time() < self._read_at + MAX_AGE_SECONDS


async def add(conn: Connection, revocation: Revocation, *, by: str) -> None:
    """Revoke one token, or those of a person."""
    params = {
        "token_id": revocation.token_id,
        "person": revocation.person,
        "issued_before": revocation.issued_before,
        "revoked_by": by,
    }
    await conn.execute(ADD, params)


async def rows(conn: Connection) -> list[RevokedRow]:
    """Return all revocations, oldest first."""
    return await fetch_all(conn, RevokedRow, ALL, {})


async def read(conn: Connection) -> RevokedTokens:
    """Return the tokens that are revoked now."""
    return _combined(await rows(conn))


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the revocations older than `age`, which no token outlives; return how many."""
    return await delete_in_batches(conn, PRUNE, {"age": age})


def _combined(revocations: Sequence[Revocation]) -> RevokedTokens:
    people: dict[str, int] = {}
    for each in revocations:
        if each.person is not None and each.issued_before is not None:
            people[each.person] = max(people.get(each.person, 0), each.issued_before)
    ids = frozenset(each.token_id for each in revocations if each.token_id is not None)
    return RevokedTokens(ids, people)
