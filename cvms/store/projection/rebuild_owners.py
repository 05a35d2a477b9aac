"""Owners and events that a full rebuild has to account for, in the live and the scratch schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection.rebuild_schema import SCHEMA

KNOWN = """
SELECT owner
FROM {s}.vaults
UNION
SELECT owner
FROM {s}.transactions
UNION
SELECT owner
FROM {s}.vault_mints
WHERE ours
"""

CHANGED_AFTER = """
SELECT owner
FROM {live}.transactions
WHERE slot > %(slot)s
UNION
SELECT owner
FROM {built}.transactions
WHERE slot > %(slot)s
"""

# An event names the paying vault only; a line names any owner.
NOT_BUILT = """
WITH known AS (
    SELECT event.signature, event.slot, mint.owner
    FROM {live}.chain_events AS event
    JOIN {live}.vault_mints AS mint
      ON mint.vault = event.vault
     AND mint.ours
    UNION
    SELECT signature, slot, owner
    FROM {live}.transactions
)
SELECT signature, slot, owner
FROM known
WHERE slot <= %(slot)s
  AND NOT EXISTS (
    SELECT 1
    FROM {built}.chain_events AS built
    WHERE built.signature = known.signature
  )
ORDER BY slot
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class EventNotBuilt:
    """A transaction with an event or a line of the owner in the live tables, and none rebuilt."""

    signature: str
    slot: int
    owner: str


class RebuildOwners:
    """Queries over both schemas, in one transaction."""

    def __init__(self, conn: Connection, *, live: str) -> None:
        self._conn = conn
        self._live, self._built = sql.Identifier(live), sql.Identifier(SCHEMA)

    async def live(self) -> set[str]:
        """Return the owners whom the live tables know."""
        return await self._owners(KNOWN, s=self._live)

    async def built(self) -> set[str]:
        """Return the owners whom the rebuilt tables know."""
        return await self._owners(KNOWN, s=self._built)

    async def changed_after(self, slot: int) -> set[str]:
        """Return the owners with history after the slot."""
        return await self._owners(CHANGED_AFTER, slot=slot)

    async def not_built(self, slot: int, *, limit: int) -> list[EventNotBuilt]:
        """Return the oldest transactions up to the slot that are live and were not rebuilt."""
        async with self._conn.cursor(row_factory=class_row(EventNotBuilt)) as cursor:
            query = sql.SQL(NOT_BUILT).format(live=self._live, built=self._built)
            await cursor.execute(query, {"slot": slot, "limit": limit})
            return await cursor.fetchall()

    async def _owners(
        self, query: LiteralString, *, s: sql.Identifier | None = None, slot: int | None = None
    ) -> set[str]:
        filled = sql.SQL(query).format(live=self._live, built=self._built, s=s or self._live)
        params: dict[str, Any] = {"slot": slot}
        rows = await (await self._conn.execute(filled, params)).fetchall()
        return {owner for (owner,) in rows}
