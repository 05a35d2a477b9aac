"""A vault's row is the account at a slot, and only moves forward in slots."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from cvms.store.postgres.database import Database
from cvms.store.projection import vault_writer
from cvms.store.vaults import vaults
from tests.store.examples import store_vault, vault_row


async def test_a_row_is_read_as_it_was_stored(database: Database) -> None:
    async with database.connection() as conn:
        assert await store_vault(conn, vault_row())
        stored = await vaults.get(conn, "owner")
        assert stored is not None
        assert stored.updated_at is not None
        assert replace(stored, updated_at=None) == vault_row()
        assert await vaults.get_by_vaults(conn, ["nothing", "vault"]) == [stored]


async def test_an_unknown_vault_is_none(database: Database) -> None:
    async with database.connection() as conn:
        assert await vaults.get(conn, "nobody") is None
        assert await vaults.get_by_vaults(conn, ["nothing"]) == []


async def test_rows_that_are_read_together_are_those_of_each_owner(database: Database) -> None:
    async with database.connection() as conn:
        for owner in ("alice", "bob"):
            await store_vault(conn, vault_row(owner=owner, vault=f"vault of {owner}"))
        owners = ["bob", "nobody", "alice", "bob"]
        together = await vaults.get_many(conn, owners)
        assert together == [await vaults.get(conn, owner) for owner in owners]
        assert [row and row.owner for row in together] == ["bob", None, "alice", "bob"]
        assert await vaults.get_many(conn, ["nobody"]) == [None]


async def test_an_older_slot_never_replaces_a_newer(database: Database) -> None:
    newer = vault_row(slot=101, total=1100, available=500)
    async with database.connection() as conn:
        await store_vault(conn, newer)
        assert not await store_vault(conn, vault_row(slot=100))
        stored = await vaults.get(conn, "owner")
        assert stored is not None
        assert (stored.slot, stored.total) == (101, 1100)
        assert await store_vault(conn, vault_row(slot=102))
        stored = await vaults.get(conn, "owner")
        assert stored is not None
        assert (stored.slot, stored.total) == (102, 1000)


@pytest.mark.parametrize(
    "wrong",
    [{"available": 401}, {"available": -1, "total": 599}, {"total": 2**63 - 1}, {"slot": -1}],
)
async def test_balances_that_do_not_add_up_are_refused(
    database: Database, wrong: dict[str, int]
) -> None:
    async with database.connection() as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            await store_vault(conn, vault_row(**wrong))


async def test_tvl_is_the_sum_even_when_it_passes_what_one_vault_can_hold(
    database: Database,
) -> None:
    largest = 2**63 - 1
    parts = {"total": largest, "available": largest, "locked": 0, "timelocked": 0}
    async with database.connection() as conn:
        assert await vaults.tvl(conn) == vaults.Tvl(total=0, vaults=0, slot=None)
        for n in range(3):
            row = vault_row(owner=f"owner {n}", vault=f"vault {n}", slot=n, **parts)
            await vault_writer.advance(conn, [replace(row, yield_deposited=0)])
        assert await vaults.tvl(conn) == vaults.Tvl(total=3 * largest, vaults=3, slot=2)


async def test_pages_contain_every_vault_once(database: Database) -> None:
    owners = [f"owner {n:02}" for n in range(10)]
    async with database.connection() as conn:
        for owner in reversed(owners):
            await store_vault(conn, vault_row(owner=owner, vault=f"of {owner}"))
        seen: list[str] = []
        while page := await vaults.page(conn, seen[-1] if seen else None, limit=3):
            seen += [row.owner for row in page]
    assert seen == owners
