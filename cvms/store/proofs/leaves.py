"""The leaves of an entry's tree: what each vault held at a slot.

A vault's key is random and never shown. It places the vault among the leaves, and its salts are
derived from it. A vault that held nothing has no leaf.
"""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, query_for


@dataclass(frozen=True, slots=True, kw_only=True)
class LeafRow:
    """A vault with its key, and its balances at the slot."""

    key: bytes
    owner: str
    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int

    @property
    def balances(self) -> tuple[int, ...]:
        """The five of docs/proofs.md, in their order."""
        return (self.total, self.available, self.locked, self.timelocked, self.yield_deposited)


# From the server's own source of secrets, of which a UUID has 122 bits. EXCEPT reads both tables
# before the first row is added: a join may read those that were just added, again for each vault.
GIVE_KEYS = """
INSERT INTO proof_keys (owner, key)
SELECT owner, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
FROM (
    SELECT owner COLLATE "C" AS owner
    FROM vaults
    EXCEPT
    SELECT owner
    FROM proof_keys
) AS new
ON CONFLICT DO NOTHING
"""

# Keys sort by characters, whatever the collation of the database, which the history's index has.
LEAVES = query_for(
    LeafRow,
    """
    SELECT {columns}
    FROM proof_keys
    CROSS JOIN LATERAL (
        SELECT total, available, locked, timelocked, yield_deposited
        FROM balance_history AS point
        WHERE point.owner = proof_keys.owner COLLATE "default"
          AND point.slot <= %(slot)s
        ORDER BY point.slot DESC
        LIMIT 1
    ) AS held
    WHERE held.total > 0
    """,
)

BY_KEY = LEAVES + "  AND key > %(after)s ORDER BY key LIMIT %(limit)s"
BY_OWNER = LEAVES + "  AND proof_keys.owner > %(after)s ORDER BY proof_keys.owner LIMIT %(limit)s"
CHUNK = LEAVES + "  AND key >= %(first)s AND key < %(end)s ORDER BY key"


async def give_keys(conn: Connection) -> None:
    """Give a key to each vault that has none."""
    await conn.execute(GIVE_KEYS)


async def by_key(conn: Connection, slot: int, *, after: bytes, limit: int) -> list[LeafRow]:
    """Return the leaves that follow a key, in the order of the tree."""
    params = {"slot": slot, "after": after, "limit": limit}
    return await fetch_all(conn, LeafRow, BY_KEY, params)


async def by_owner(conn: Connection, slot: int, *, after: str, limit: int) -> list[LeafRow]:
    """Return the leaves that follow an owner, in the order of the file of reserves."""
    params = {"slot": slot, "after": after, "limit": limit}
    return await fetch_all(conn, LeafRow, BY_OWNER, params)


async def chunk(conn: Connection, slot: int, *, first: bytes, end: bytes) -> list[LeafRow]:
    """Return the leaves with keys from `first` to before `end`, in the order of the tree."""
    params = {"slot": slot, "first": first, "end": end}
    return await fetch_all(conn, LeafRow, CHUNK, params)
