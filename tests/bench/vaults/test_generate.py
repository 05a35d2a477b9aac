"""Generated books agree with each other, and the service's own code goes on from them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio

from bench.vaults.books import Books, books
from bench.vaults.generate import generate
from bench.vaults.reads import reads_of
from bench.vaults.upkeep import BATCH, Upkeep
from cvms.config.loader import load_programs
from cvms.store.analytics import aggregate_check
from cvms.store.postgres.database import Database, open_database
from cvms.store.reconciliation import vault_ledger
from cvms.store.reconciliation.vault_ledger import HELD
from cvms.store.vaults import vaults

VAULTS, LINES = 300, 1_800


@dataclass
class Generated:
    database: Database
    planned: Books
    reports: list[str]


@pytest.fixture
async def generated(empty_database_url: str) -> AsyncIterator[Generated]:
    planned, reports = books(VAULTS, LINES, load_programs({})), list[str]()

    def fill() -> None:
        generate(empty_database_url, planned, report=reports.append)

    await trio.to_thread.run_sync(fill)
    async with open_database(empty_database_url) as database:
        await database.prepare()
        yield Generated(database, planned, reports)


async def assert_consistent(database: Database) -> None:
    async with database.connection() as conn:
        found = await aggregate_check.check(conn)
        owners = await vaults.owners_after(conn, "", VAULTS + 1)
        ledgers = await vault_ledger.read(conn, owners)
    assert len(owners) == VAULTS
    assert (found.wrong_sizes, found.wrong_flows) == (0, 0)
    assert found.rows == found.newest_hour > 0
    for ledger in ledgers.values():
        assert ledger.row is not None
        assert ledger.newest is not None
        for name in HELD:
            held = getattr(ledger.row, name)
            assert held == getattr(ledger.newest, name) == getattr(ledger.sums, name)
        assert ledger.row.total_deposited == ledger.sums.deposited
        assert ledger.row.total_withdrawn == ledger.sums.withdrawn


async def test_balances_are_the_sums_of_the_history(generated: Generated) -> None:
    await assert_consistent(generated.database)
    async with generated.database.connection() as conn:
        counted = await conn.execute("SELECT count(*), count(DISTINCT slot) FROM transactions")
        assert await counted.fetchall() == [(LINES, LINES)]
        timelocked = await conn.execute(
            "SELECT (SELECT count(*) FROM vaults WHERE timelocked > 0), count(*) FROM maturities"
        )
        [(held, due)] = await timelocked.fetchall()
    assert held == due > 0
    assert generated.reports[-1].startswith(f"{VAULTS} vaults, {LINES} lines in ")


async def test_the_indexer_goes_on_from_generated_books(generated: Generated) -> None:
    upkeep = Upkeep(generated.database, generated.planned)
    for number in (0, 250):  # the last of the second batch are the first vaults again
        await upkeep.apply(number)
    await assert_consistent(generated.database)
    async with generated.database.connection() as conn:
        lines = await conn.execute("SELECT count(*) FROM transactions")
        assert await lines.fetchall() == [(LINES + 2 * BATCH,)]


async def test_every_measurement_runs(generated: Generated) -> None:
    upkeep = Upkeep(generated.database, generated.planned)
    async with generated.database.connection() as conn:
        for ask in reads_of(generated.planned, 7).values():
            await ask(conn)
    for work in upkeep.repeated().values():
        assert await work(7) > 0
    for units, whole in upkeep.whole().values():
        assert units > 0
        assert await whole() > 0
