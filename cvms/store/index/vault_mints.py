"""Whether each vault held our mint as of the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all

READ = """
SELECT vault, owner, ours
FROM vault_mints
WHERE vault = ANY(%(vaults)s)
"""

PUT = """
INSERT INTO vault_mints (vault, owner, ours)
SELECT vault, owner, ours
FROM unnest(%(vault)s::TEXT[], %(owner)s::TEXT[], %(ours)s::BOOLEAN[]) AS held (vault, owner, ours)
ON CONFLICT (vault) DO UPDATE SET
    ours = EXCLUDED.ours
"""

DROP = """
DELETE FROM vault_mints
WHERE vault = ANY(%(vaults)s)
"""


@dataclass(frozen=True, slots=True)
class VaultMint:
    """A vault, whose it is, and whether it holds our mint."""

    vault: str
    owner: str
    ours: bool


async def read(conn: Connection, vaults: Iterable[str]) -> list[VaultMint]:
    """What is known of these vaults; nothing of those that were never opened."""
    return await fetch_all(conn, VaultMint, READ, {"vaults": list(vaults)})


async def put(conn: Connection, held: Sequence[VaultMint]) -> None:
    """Keep these."""
    if held:
        await conn.execute(PUT, by_column(held, VaultMint.__slots__))


async def drop(conn: Connection, vaults: Sequence[str]) -> None:
    """These were never opened."""
    if vaults:
        await conn.execute(DROP, {"vaults": list(vaults)})
