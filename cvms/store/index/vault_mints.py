"""Record of the vaults that held our mint as of the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    by_column,
    columns,
    fetch_all,
    fetch_column,
    query_for,
)


@dataclass(frozen=True, slots=True)
class VaultMint:
    """A vault, its owner, and whether it holds our mint."""

    vault: str
    owner: str
    ours: bool


READ = query_for(
    VaultMint,
    """
    SELECT {columns}
    FROM vault_mints
    WHERE vault = ANY(%(vaults)s)
    """,
)

PUT = query_for(
    VaultMint,
    """
    INSERT INTO vault_mints ({columns})
    SELECT {columns}
    FROM unnest({arrays}) AS given ({columns})
    ON CONFLICT (vault) DO UPDATE SET
        ours = EXCLUDED.ours
    """,
)

OWNERS_WITHOUT_ROW = """
SELECT vault_mints.owner
FROM vault_mints
LEFT JOIN vaults
  ON vaults.owner = vault_mints.owner
WHERE vault_mints.ours
  AND vaults.owner IS NULL
"""

DROP = """
DELETE FROM vault_mints
WHERE vault = ANY(%(vaults)s)
"""


async def read(conn: Connection, vaults: Iterable[str]) -> list[VaultMint]:
    """Return the rows of these vaults; one that was never opened has none."""
    return await fetch_all(conn, VaultMint, READ, {"vaults": list(vaults)})


async def owners_without_row(conn: Connection) -> list[str]:
    """Return the owners whose vault holds our mint and has no row."""
    return await fetch_column(conn, OWNERS_WITHOUT_ROW, {})


async def put(conn: Connection, mints: Sequence[VaultMint]) -> None:
    """Store the rows, replacing former ones."""
    if mints:
        await conn.execute(PUT, by_column(mints, columns(VaultMint)))


async def drop(conn: Connection, vaults: Sequence[str]) -> None:
    """Delete the rows of these vaults, which were never opened."""
    if vaults:
        await conn.execute(DROP, {"vaults": list(vaults)})
