"""Queries that must not read whole tables, on a generated database of some thousand vaults."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import trio

from bench.vaults.books import books
from bench.vaults.generate import generate
from cvms.config.loader import load_programs
from cvms.store.analytics import aggregate_check
from cvms.store.postgres.database import Database, open_database
from cvms.store.vaults import balance_snapshots

VAULTS, LINES = 3_000, 15_000


async def plan(database: Database, query: str, params: Mapping[str, object]) -> str:
    async with database.connection() as conn:
        rows = await conn.execute(f"EXPLAIN {query}".encode(), params)
        return "\n".join(line for (line,) in await rows.fetchall())


@pytest.fixture
async def generated(empty_database_url: str) -> str:
    planned = books(VAULTS, LINES, load_programs({}))
    await trio.to_thread.run_sync(
        lambda: generate(empty_database_url, planned, report=lambda _: None)
    )
    return empty_database_url


async def test_large_tables_are_read_by_index(generated: str) -> None:
    async with open_database(generated) as database:
        await database.prepare()
        moved = {"after_slot": 378_000_000, "slot": 378_100_000}
        assert "balance_history_by_slot" in await plan(database, balance_snapshots.MOVED, moved)
        sums = await plan(database, aggregate_check.CHECK, {"kind": ["deposit"], "total": [1]})
        assert "Index Only Scan using vaults_by_balance" in sums
        assert "Seq Scan on vaults " not in sums
