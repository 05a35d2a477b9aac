"""What an account should count: the history since it was last closed, and other mints."""

from __future__ import annotations

from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.reconciliation import vault_ledger
from cvms.store.vaults import account_offsets, history
from tests.store.examples import history_row


async def expected(conn: Connection, owner: str) -> tuple[int, int]:
    sums = (await vault_ledger.read(conn, [owner]))[owner].sums
    return sums.deposited, sums.withdrawn


async def test_the_sums_are_what_came_in_and_went_out(database: Database) -> None:
    moved = [
        ("deposit", 2**62),
        ("deposit", 2**62),
        ("withdraw", 5),
        ("emergency_withdraw", 7),
        ("lock", 11),
    ]
    rows = [history_row(ordinal=n, kind=kind, amount=a) for n, (kind, a) in enumerate(moved)]
    async with database.connection() as conn:
        await history.add(conn, rows)
        assert await expected(conn, "owner") == (2**63, 12)
        assert await expected(conn, "nobody") == (0, 0)


async def test_a_new_account_counts_from_zero(database: Database) -> None:
    async with database.connection() as conn:
        for life, amount in enumerate((30, 5)):
            deposit = history_row(ordinal=2 * life, kind="deposit", amount=amount)
            withdrawal = history_row(ordinal=2 * life + 1, kind="withdraw", amount=amount)
            await history.add(conn, [deposit, withdrawal])
            assert await expected(conn, "owner") == (amount, amount)
            await account_offsets.reset(conn, "owner")
            assert await expected(conn, "owner") == (0, 0)
        await history.add(conn, [history_row(ordinal=9, kind="deposit", amount=2)])
        assert await expected(conn, "owner") == (2, 0)


async def test_a_row_missing_from_an_earlier_account_still_shows(database: Database) -> None:
    async with database.connection() as conn:
        await history.add(conn, [history_row(kind="deposit", amount=30)])
        await account_offsets.reset(conn, "owner")
        await conn.execute(b"DELETE FROM transactions")
        assert await expected(conn, "owner") == (-30, 0)


async def test_amounts_that_only_the_account_counts_are_included(database: Database) -> None:
    async with database.connection() as conn:
        await history.add(conn, [history_row(kind="deposit", amount=30)])
        for _ in range(2):
            await account_offsets.exclude(conn, "owner", 2**64 - 1, 0)
        await account_offsets.exclude(conn, "owner", 0, 7)
        assert await expected(conn, "owner") == (30 + 2 * (2**64 - 1), 7)
        await account_offsets.reset(conn, "owner")
        assert await expected(conn, "owner") == (0, 0)
