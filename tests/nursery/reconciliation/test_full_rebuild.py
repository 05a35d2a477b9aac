"""Full rebuild: rows that differ from those rebuilt from the chain are found and replaced."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psycopg
import pytest
import trio
from solders.keypair import Keypair

from cvms.cli import main
from cvms.errors import DatabaseUnavailable, RebuildNotPossible
from cvms.nursery.indexing.indexer import Indexer
from cvms.nursery.reconciliation.full_rebuild import (
    ComparisonProgress,
    FullRebuild,
    RebuildOutcome,
    RebuildProgress,
    open_rebuild,
)
from cvms.nursery.supervision.supervisor import supervise
from cvms.store.index.cursor import APPLY_LOCK
from cvms.store.messaging.topics import ROW_WRITTEN
from cvms.store.postgres.database import open_database
from cvms.store.projection import rebuild_schema
from cvms.store.projection.rebuild_schema import REBUILD_LOCK
from cvms.store.security import audit_log, audit_verification
from tests.nursery.indexing.test_indexer import cancelled_after
from tests.nursery.reconciliation.test_reconciler import DAMAGE, stored, two_vaults
from tests.nursery.world import World, running, until

Progress = RebuildProgress | ComparisonProgress


@pytest.fixture(autouse=True)
def pages_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every table of these tests several pages."""
    monkeypatch.setattr(rebuild_schema, "PAGE_ROWS", 2)


@asynccontextmanager
async def rebuilding(
    world: World, url: str, *, fresh: bool = False, steps: list[Progress] | None = None
) -> AsyncIterator[FullRebuild]:
    steps = [] if steps is None else steps
    async with open_rebuild(
        url, rpc=world.rpc, programs=world.programs, fresh=fresh, report=steps.append, max_shown=5
    ) as rebuild:
        yield rebuild


async def rebuild(world: World, url: str, *, replace: bool = False) -> RebuildOutcome:
    await until_unlocked(world)
    async with rebuilding(world, url) as rebuild:
        return await rebuild.run(replace=replace)


async def until_unlocked(world: World) -> None:
    """Wait until the server has ended the session of the last rebuild, which had the lock."""

    async def unlocked() -> bool:
        async with world.database.connection() as conn:
            cursor = await conn.execute(
                "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", [REBUILD_LOCK]
            )
            return await cursor.fetchone() is None

    await until(unlocked)


async def schemas(world: World) -> set[str]:
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT nspname FROM pg_namespace")
        return {name for (name,) in await cursor.fetchall()}


async def test_correct_tables_are_found_equal(world: World, database_url: str) -> None:
    await two_vaults(world)
    before = await stored(world)
    outcome = await rebuild(world, database_url)
    assert outcome.counts == dict.fromkeys(outcome.counts, 0)
    assert outcome.equal
    assert not outcome.replaced
    assert await stored(world) == before


async def test_the_comparison_of_a_large_table_shows_its_progress(
    world: World, database_url: str
) -> None:
    await two_vaults(world)
    steps: list[Progress] = []
    async with rebuilding(world, database_url, steps=steps) as rebuild_:
        assert (await rebuild_.run(replace=False)).equal
    compared = [
        each.rows
        for each in steps
        if isinstance(each, ComparisonProgress) and each.table == "chain_events"
    ]
    assert len(compared) > 2
    assert compared == [2 * page for page in range(1, len(compared) + 1)]


HIDDEN = {
    "two altered lines cancel out": "UPDATE transactions SET amount = 23 - amount "
    "WHERE amount IN (3, 20)",
    "an event is altered": """UPDATE chain_events SET data = data || '{"amount": 21}' """
    "WHERE name = 'DepositEvent' AND data ->> 'amount' = '20'",
    "an event is missing": "DELETE FROM chain_events WHERE name = 'VaultClosedEvent'",
    "lines are in another order": "WITH first AS (SELECT ctid FROM transactions "
    "WHERE amount = 500) UPDATE transactions SET ordinal = ordinal + 40 WHERE amount = 500",
    "a sum is wrong": "UPDATE history_sums SET amount = amount + 1 WHERE kind = 'deposit'",
    "a mint is wrong": "UPDATE vault_mints SET ours = NOT ours",
    "an old balance is wrong": "UPDATE balance_history SET total = total + 1, "
    "available = available + 1 WHERE total = 523",
    "everything is gone": "TRUNCATE transactions, chain_events, vaults, balance_history, flows, "
    "tvl_hours, vault_sizes, event_totals, account_offsets, vault_mints",
}


@pytest.mark.parametrize(
    "damage", [*HIDDEN, "a line is missing", "a row is wrong", "sums over time are wrong"]
)
async def test_what_differs_is_found_and_replaced(
    world: World, database_url: str, damage: str
) -> None:
    alice, _ = await two_vaults(world)
    before, published = await stored(world), len(await world.outbox())
    await world.execute((HIDDEN | DAMAGE)[damage])
    found = await rebuild(world, database_url)
    assert not found.equal
    assert {each.table for each in found.first} <= {name for name, n in found.counts.items() if n}
    again = await rebuild(world, database_url, replace=True)
    assert (again.counts, again.replaced) == (found.counts, True)
    assert again.resumed_from is not None  # the second run resumes from the first
    assert await stored(world) == before
    topics = {row.topic for row in (await world.outbox())[published:]}
    assert topics <= {ROW_WRITTEN, "vault_balance_update"}
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=10)
        assert (await audit_verification.verify(conn)).broken is None
    assert (entry.actor, entry.action) == ("cvms index rebuild", "books_replaced")
    assert "cvms_rebuild" not in await schemas(world)
    await world.act(alice, world.deposit(alice, 1))  # the indexer resumes from its cursor
    await world.indexer().catch_up()
    assert (await rebuild(world, database_url)).equal


async def test_vaults_that_changed_after_the_cursor_are_no_difference(
    world: World, database_url: str
) -> None:
    alice, _ = await two_vaults(world)
    await world.act(alice, world.deposit(alice, 1))  # not indexed
    outcome = await rebuild(world, database_url)
    assert outcome.equal
    assert outcome.moved == 1


async def test_cancelled_at_any_point_a_rebuild_resumes(world: World, database_url: str) -> None:
    await two_vaults(world)
    before = await stored(world)
    await world.execute(DAMAGE["a line is missing"])
    damaged = await stored(world)
    world.chain.chain.pause()

    for step in range(10, 400, 35):
        await until_unlocked(world)
        async with rebuilding(world, database_url) as rebuild_:
            await cancelled_after(step, partial(rebuild_.run, replace=step > 200))
        assert await stored(world) in (before, damaged), f"cancelled after step {step}"
    assert (await rebuild(world, database_url, replace=True)).replaced
    assert await stored(world) == before


@pytest.mark.slow(seconds=25)
async def test_beside_a_live_indexer_and_reconciler_nothing_is_lost(
    world: World, database_url: str
) -> None:
    alice, bob = await two_vaults(world)
    await world.execute(DAMAGE["a row's composition is wrong"])  # the reconciler heals it meanwhile
    await world.execute(HIDDEN["two altered lines cancel out"])  # and does not see this
    indexer, reconciler = world.indexer(), world.reconciler()
    stop = trio.Event()

    async def flow(owner: Keypair) -> None:
        while not stop.is_set():
            await world.act(owner, world.deposit(owner, 2))

    # A task that waits too long for the lock fails, and is run again.
    as_in_service = partial(supervise, board=world.board, metrics=world.metrics)
    async with running(
        partial(as_in_service, "indexer", indexer.run),
        partial(as_in_service, "reconciler", reconciler.run),
    ):
        async with trio.open_nursery() as flows:
            for owner in (alice, bob):
                flows.start_soon(flow, owner)
            compared = await rebuild(world, database_url)
            assert compared.counts["transactions"] == 2
            assert (await rebuild(world, database_url, replace=True)).replaced
            stop.set()
        last = await world.act(alice, world.withdraw(alice, 1))

        async def applied() -> bool:
            cursor = await world.cursor()
            return cursor is not None and cursor.signature == last

        await until(applied)
    outcome = await rebuild(world, database_url)
    assert outcome.first == []
    assert outcome.equal
    assert [row.position for row in await world.outbox()] == list(
        range(1, len(await world.outbox()) + 1)
    )


async def test_the_indexer_says_what_it_waits_for_and_goes_on(
    world: World, database_url: str
) -> None:
    alice = await world.owner()
    await world.act(alice, world.deposit(alice, 3))
    async with open_database(database_url, query_timeout=0.2) as impatient:
        await impatient.prepare()
        indexer = world.with_resources(database=impatient).indexer()
        with psycopg.connect(database_url) as holder:
            lock = "SELECT pg_advisory_xact_lock(%s, hashtext(current_schema()))"
            holder.execute(lock, [APPLY_LOCK])
            with pytest.raises(DatabaseUnavailable, match="index rebuild --replace"):
                await indexer.catch_up()
        assert await indexer.catch_up()
    assert await world.history(alice) == [("deposit", 3, 3)]


async def test_one_rebuild_runs_at_a_time_and_replaces_no_foreign_schema(
    world: World, database_url: str
) -> None:
    await two_vaults(world)
    async with rebuilding(world, database_url):
        with pytest.raises(RebuildNotPossible, match="is running"):
            async with rebuilding(world, database_url):
                pass
    await world.execute("COMMENT ON SCHEMA cvms_rebuild IS 'mine'")
    with pytest.raises(RebuildNotPossible, match="is of something else"):
        await rebuild(world, database_url)
    await until_unlocked(world)
    async with rebuilding(world, database_url, fresh=True) as again:
        assert (await again.run(replace=False)).equal


async def command(*words: str) -> int:
    return await trio.to_thread.run_sync(main, words)


async def test_a_killed_command_can_be_run_again(
    world: World,
    database_url: str,
    settings: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    await two_vaults(world)
    with psycopg.connect(database_url, autocommit=True) as holder:
        # The rebuild waits for this lock before it applies events to the scratch schema.
        lock = "SELECT pg_advisory_lock(%s, hashtext('cvms_rebuild'))"
        holder.execute(lock, [APPLY_LOCK])
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "cvms.cli", "index", "rebuild"], env=os.environ | settings
        )

        async def waits() -> bool:
            async with world.database.connection() as conn:
                cursor = await conn.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
                row = await cursor.fetchone()
            return row is not None and row[0] > 0

        try:
            await until(waits, seconds=60)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def free() -> bool:
        return await command("index", "rebuild", "--show", "0") == 0

    await until(free, seconds=60)
    assert "the books are what the chain says" in capsys.readouterr().out


async def test_the_command_prints_the_differences_and_exits_with_1(
    world: World, settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await two_vaults(world)
    await world.execute(DAMAGE["a row is wrong"])
    assert await command("index", "rebuild") == 1
    output = capsys.readouterr()
    assert "vaults: 2 rows differ" in output.out
    assert output.out.endswith("nothing is changed\n")
    assert "applied up to slot " in output.err
    assert await command("index", "rebuild", "--replace", "--json") == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["replaced"], outcome["equal"]) == (True, False)
    assert outcome["differing_rows"]["vaults"] == 2
    assert await command("index", "rebuild") == 0


async def test_status_shows_the_cursor_and_the_lag(
    world: World, settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await command("index", "status") == 0
    assert "applied     nothing yet" in capsys.readouterr().out
    alice, _ = await two_vaults(world)
    missed = [await world.act(alice, world.deposit(alice, 1)) for _ in range(2)]
    assert await command("index", "status", "--json") == 0
    status: dict[str, Any] = json.loads(capsys.readouterr().out)
    cursor = await world.cursor()
    assert cursor is not None
    assert (status["signature"], status["slot"]) == (cursor.signature, cursor.slot)
    assert status["chain"]["waiting"] == len(missed)
    assert status["lag_slots"] == status["chain"]["confirmed_slot"] - status["through"]
    assert status["unfinalized_events"] > 0
    await world.execute("UPDATE indexer_cursor SET signature = %s", str(Keypair().pubkey()))
    assert await command("index", "status") == 1
    assert "does not list the transaction that was applied last" in capsys.readouterr().out


async def test_a_rebuild_backfills_a_history_too_long_for_memory(
    world: World, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, _ = await two_vaults(world)
    await world.act(alice, world.deposit(alice, 1))  # confirmed, not finalized
    world.chain.chain.pause()
    await world.indexer().catch_up()
    monkeypatch.setattr(
        "cvms.nursery.reconciliation.full_rebuild.Indexer", partial(Indexer, longest_gap=3)
    )
    world.chain.chain.resume()
    outcome = await rebuild(world, database_url)
    assert outcome.first == []
    assert outcome.equal


async def test_status_shows_a_backfill(
    world: World, settings: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await world.execute("INSERT INTO backlog_head (complete, listed) VALUES (FALSE, 7)")
    await world.execute("INSERT INTO backlog (signature, slot, failed) VALUES ('s', 1, FALSE)")
    await command("index", "status")
    output = capsys.readouterr().out
    assert "catching up 6 of 7 applied, and the list is not complete yet" in output


async def test_status_shows_the_last_error_and_an_unavailable_chain(
    world: World,
    settings: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await two_vaults(world)
    await world.execute("UPDATE indexer_cursor SET signature = 'gone', previous_signature = NULL")
    await world.execute("DELETE FROM applied")
    with pytest.raises(BaseException):  # noqa: B017, PT011 - any error that ends a run is recorded
        async with running(world.indexer().run):
            await trio.sleep_forever()
    monkeypatch.setenv("SOLANA_RPC_URL", "http://127.0.0.1:9")
    assert await command("index", "status") == 1
    output = capsys.readouterr().out
    assert "last error " in output
    assert "last error  none" not in output
    assert "chain       does not answer" in output
