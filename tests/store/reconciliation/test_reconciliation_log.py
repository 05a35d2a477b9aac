"""The reconciliation log keeps its entries until they are pruned."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

from cvms.store.postgres.database import Database
from cvms.store.reconciliation import reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry

ENTRY = ReconciliationEntry(
    vault="vault",
    owner="owner",
    field="total",
    expected=1000,
    actual=900,
    difference=100,
    chain_slot=100,
    row_slot=99,
    healed=True,
    cause="missed event",
)


async def test_entries_are_returned_newest_first(database: Database) -> None:
    missing = replace(ENTRY, field="row", actual=None, row_slot=None, healed=False)
    async with database.connection() as conn:
        await reconciliation_log.log(conn, ENTRY)
        await reconciliation_log.log(conn, missing)
        newest, oldest = await reconciliation_log.recent(conn)
        assert len(await reconciliation_log.recent(conn, limit=1)) == 1
    assert {**asdict(newest), **asdict(missing)} == asdict(newest)
    assert {**asdict(oldest), **asdict(ENTRY)} == asdict(oldest)


async def test_old_entries_are_pruned(database: Database) -> None:
    async with database.connection() as conn:
        await reconciliation_log.log(conn, ENTRY)
        await conn.execute("UPDATE reconciliation_logs SET created_at = now() - INTERVAL '91 days'")
        await reconciliation_log.log(conn, ENTRY)
        assert await reconciliation_log.prune(conn, timedelta(days=90)) == 1
        assert len(await reconciliation_log.recent(conn)) == 1
