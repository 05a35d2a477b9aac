"""Owners and events that a full rebuild has to account for, in the live and the scratch schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, LiteralString

from psycopg import sql
from psycopg.rows import class_row

from cvms.store.postgres.driver.connection import Connection
from cvms.store.projection.rebuild_schema import SCHEMA

Group = Literal["settled", "latest", "not built"]
"""Owners whose history was built, without or with lines after a slot, or was not built."""

DROP = "DROP TABLE IF EXISTS pg_temp.rebuild_owners"

# Each owner once, in a table that is read in pages.
COLLECT = """
CREATE TEMPORARY TABLE rebuild_owners ON COMMIT DROP AS
SELECT owner, bool_or(live) AS live, bool_or(built) AS built, bool_or(latest) AS latest
FROM (
    SELECT owner, TRUE, FALSE, FALSE FROM {live}.vaults
    UNION ALL
    SELECT owner, TRUE, FALSE, FALSE FROM {live}.history_sums WHERE count <> 0
    UNION ALL
    SELECT owner, TRUE, FALSE, FALSE FROM {live}.vault_mints WHERE ours
    UNION ALL
    SELECT owner, FALSE, TRUE, FALSE FROM {built}.vaults
    UNION ALL
    SELECT owner, FALSE, TRUE, FALSE FROM {built}.history_sums WHERE count <> 0
    UNION ALL
    SELECT owner, FALSE, TRUE, FALSE FROM {built}.vault_mints WHERE ours
    UNION ALL
    SELECT owner, FALSE, FALSE, TRUE FROM {live}.transactions WHERE slot > %(slot)s
    UNION ALL
    SELECT owner, FALSE, FALSE, TRUE FROM {built}.transactions WHERE slot > %(slot)s
) AS known (owner, live, built, latest)
GROUP BY owner
"""

INDEX = "CREATE UNIQUE INDEX rebuild_owners_key ON pg_temp.rebuild_owners (owner)"

PAGE = """
SELECT owner
FROM pg_temp.rebuild_owners
WHERE owner > %(after)s
  AND {group}
ORDER BY owner
LIMIT %(limit)s
"""

GROUPS: Mapping[Group, LiteralString] = {
    "settled": "built AND NOT latest",
    "latest": "built AND latest",
    "not built": "live AND NOT built",
}

# Of the rows that `TableComparison` has found. An event names the paying vault only; a line names
# any owner.
NOT_BUILT = """
WITH known AS (
    SELECT event.live ->> 'signature' AS signature, (event.live ->> 'slot')::BIGINT AS slot,
           mint.owner
    FROM pg_temp.differing_chain_events AS event
    JOIN {live}.vault_mints AS mint
      ON mint.vault = event.live ->> 'vault'
     AND mint.ours
    WHERE event.built IS NULL
    UNION
    SELECT live ->> 'signature', (live ->> 'slot')::BIGINT, live ->> 'owner'
    FROM pg_temp.differing_transactions
    WHERE built IS NULL
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
    """Queries over both schemas, in the transaction of a `TableComparison` that has compared."""

    def __init__(self, conn: Connection, *, live: str) -> None:
        self._conn = conn
        self._live, self._built = sql.Identifier(live), sql.Identifier(SCHEMA)

    async def collect(self, slot: int) -> None:
        """Collect the owners whom either schema knows, and whether they have history after `slot`.

        Call it before `page`.
        """
        await self._conn.execute(DROP)
        await self._conn.execute(self._filled(COLLECT), {"slot": slot})
        await self._conn.execute(INDEX)

    async def page(self, group: Group, *, after: str, limit: int) -> list[str]:
        """Return up to `limit` owners of a group after the owner `after`, in order."""
        query = sql.SQL(PAGE).format(group=sql.SQL(GROUPS[group]))
        rows = await self._conn.execute(query, {"after": after, "limit": limit})
        return [owner for (owner,) in await rows.fetchall()]

    async def not_built(self, slot: int, *, limit: int) -> list[EventNotBuilt]:
        """Return the oldest transactions up to the slot that are live and were not rebuilt."""
        async with self._conn.cursor(row_factory=class_row(EventNotBuilt)) as cursor:
            await cursor.execute(self._filled(NOT_BUILT), {"slot": slot, "limit": limit})
            return await cursor.fetchall()

    def _filled(self, query: LiteralString) -> sql.Composed:
        return sql.SQL(query).format(live=self._live, built=self._built)
