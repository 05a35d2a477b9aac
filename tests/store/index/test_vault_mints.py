"""Whether each vault held our mint as of the cursor."""

from __future__ import annotations

from cvms.store.index import vault_mints
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.database import Database


async def test_the_last_value_for_each_vault_is_kept(database: Database) -> None:
    ours, other = VaultMint("one", "alice", ours=True), VaultMint("two", "bob", ours=False)
    async with database.connection() as conn:
        await vault_mints.put(conn, [])
        await vault_mints.put(conn, [ours, other])
        assert await vault_mints.read(conn, ["two", "three"]) == [other]
        changed = VaultMint("one", "alice", ours=False)
        await vault_mints.put(conn, [changed])
        found = await vault_mints.read(conn, ["one", "two"])
    assert {each.vault: each.ours for each in found} == {"one": False, "two": False}
