"""Record of the chain and the mint that a database belongs to."""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value

READ = """
SELECT hash
FROM chain_genesis
"""

RECORD = """
INSERT INTO chain_genesis (hash)
VALUES (%(genesis)s)
ON CONFLICT DO NOTHING
"""

REPLACE = """
INSERT INTO chain_genesis (hash)
VALUES (%(genesis)s)
ON CONFLICT (id) DO UPDATE SET
    hash = EXCLUDED.hash,
    recorded_at = now()
WHERE chain_genesis.hash <> EXCLUDED.hash
"""

OTHER_MINT = """
SELECT mint
FROM vaults
WHERE mint <> %(mint)s
LIMIT 1
"""


async def read(conn: Connection) -> str | None:
    """Return the hash of the genesis block, None before the first start."""
    value: str | None = await fetch_value(conn, READ)
    return value


async def record(conn: Connection, genesis: str) -> str:
    """Record the hash unless one is recorded; return the one that is.

    Of several callers with different hashes, one wins.
    """
    await conn.execute(RECORD, {"genesis": genesis})
    recorded = await read(conn)
    assert recorded is not None
    return recorded


async def replace(conn: Connection, genesis: str) -> None:
    """Record the hash, whatever was recorded before."""
    await conn.execute(REPLACE, {"genesis": genesis})


async def other_mint(conn: Connection, mint: str) -> str | None:
    """Return another mint than this one of vaults in the database, None if there is none."""
    value: str | None = await fetch_value(conn, OTHER_MINT, {"mint": mint})
    return value
