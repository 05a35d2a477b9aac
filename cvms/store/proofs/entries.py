"""The log of proofs: its signed entries, and the upper nodes of each one's tree.

Entries are kept for ever. `nodes` are those of the tree from the roots of its chunks up, packed,
and `first_keys` how the first key of each chunk begins: with the leaves of one chunk, which the
history of balances still has, they are enough for an inclusion proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    fetch_all,
    fetch_column,
    fetch_one,
    fetch_value,
    query_for,
)

MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """A signed entry, as in docs/proofs.md. `memo` is the transaction with its hash, if any; `file`
    names the file of reserves.
    """

    number: int
    slot: int
    text: str
    key: bytes
    signature: bytes
    file: UUID
    memo: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryTree:
    """The packed upper nodes of an entry's tree, its number of leaves, and its chunks' keys."""

    vaults: int
    first_keys: bytes
    nodes: bytes


NEWEST = query_for(
    EntryRow,
    """
    SELECT {columns}
    FROM proof_entries
    WHERE number < %(before)s
    ORDER BY number DESC
    LIMIT %(limit)s
    """,
)

AFTER = query_for(
    EntryRow,
    """
    SELECT {columns}
    FROM proof_entries
    WHERE number > %(after)s
    ORDER BY number
    LIMIT %(limit)s
    """,
)

AT_SLOT = query_for(
    EntryRow,
    """
    SELECT {columns}
    FROM proof_entries
    WHERE slot = %(slot)s
    """,
)

UP_TO_SLOT = query_for(
    EntryRow,
    """
    SELECT {columns}
    FROM proof_entries
    WHERE slot <= %(slot)s
    ORDER BY slot DESC
    LIMIT 1
    """,
)

KEY_AND_SHAPE = """
SELECT proof_keys.key, entry.vaults, entry.first_keys
FROM proof_entries AS entry
CROSS JOIN proof_keys
WHERE entry.number = %(number)s
  AND proof_keys.owner = %(owner)s
"""

NODES = """
SELECT substring(nodes FROM 1 + place * %(size)s FOR %(size)s)
FROM proof_entries
CROSS JOIN unnest(%(places)s::INTEGER[]) WITH ORDINALITY AS wanted (place, nth)
WHERE number = %(number)s
ORDER BY nth
"""

# Of two publishers at the same time, the slower one finds its number or its slot taken.
ADD = """
INSERT INTO proof_entries (
    number, slot, text, key, signature, vaults, first_keys, nodes, file
)
VALUES (
    %(number)s, %(slot)s, %(text)s, %(key)s, %(signature)s, %(vaults)s, %(first_keys)s, %(nodes)s,
    %(file)s
)
ON CONFLICT DO NOTHING
RETURNING TRUE
"""

SET_MEMO = """
UPDATE proof_entries
SET memo = %(memo)s
WHERE number = %(number)s
"""

REQUEST = """
UPDATE proof_head
SET requested = TRUE
"""

IS_REQUESTED = """
SELECT requested
FROM proof_head
"""

FULFIL = """
UPDATE proof_head
SET requested = FALSE
"""


async def newest(conn: Connection) -> EntryRow | None:
    """Return the last entry of the log, None if it is empty."""
    rows = await page(conn, before=None, limit=1)
    return rows[0] if rows else None


async def page(conn: Connection, *, before: int | None, limit: int) -> list[EntryRow]:
    """Return entries with numbers below `before`, newest first."""
    params = {"before": MAX_NUMBER if before is None else before, "limit": limit}
    return await fetch_all(conn, EntryRow, NEWEST, params)


async def after(conn: Connection, number: int, *, limit: int) -> Sequence[EntryRow]:
    """Return entries after a number, oldest first."""
    return await fetch_all(conn, EntryRow, AFTER, {"after": number, "limit": limit})


async def at_slot(conn: Connection, slot: int) -> EntryRow | None:
    """Return the entry of exactly this slot."""
    return await fetch_one(conn, EntryRow, AT_SLOT, {"slot": slot})


async def up_to_slot(conn: Connection, slot: int) -> EntryRow | None:
    """Return the last entry of a slot up to this one."""
    return await fetch_one(conn, EntryRow, UP_TO_SLOT, {"slot": slot})


async def key_and_shape(
    conn: Connection, number: int, owner: str
) -> tuple[bytes, int, bytes] | None:
    """Return the key of an owner's vault, the number of an entry's leaves, and the first keys of
    its chunks; None if the vault has no key.
    """
    # In text, bytes are twice as long, and have to be decoded.
    cursor = await conn.execute(KEY_AND_SHAPE, {"number": number, "owner": owner}, binary=True)
    return await cursor.fetchone()


async def nodes_of(
    conn: Connection, number: int, places: Sequence[int], *, size: int
) -> list[bytes]:
    """Return some of the packed nodes of an entry, each of `size` bytes, by their places."""
    params = {"number": number, "places": list(places), "size": size}
    return await fetch_column(conn, NODES, params)


async def add(conn: Connection, entry: EntryRow, tree: EntryTree) -> bool:
    """Append an entry. Return False if its number or its slot is taken."""
    return bool(await fetch_value(conn, ADD, asdict(entry) | asdict(tree)))


async def set_memo(conn: Connection, number: int, memo: str) -> None:
    """Record the transaction that wrote an entry's hash to the chain."""
    await conn.execute(SET_MEMO, {"number": number, "memo": memo})


async def request(conn: Connection) -> None:
    """Ask the leader for an entry now."""
    await conn.execute(REQUEST)


async def is_requested(conn: Connection) -> bool:
    return bool(await fetch_value(conn, IS_REQUESTED, {}))


async def fulfil(conn: Connection) -> None:
    """Take back the requests that an entry has answered."""
    await conn.execute(FULFIL)
