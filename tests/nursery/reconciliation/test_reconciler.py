"""Reconciler: a difference is logged and healed, and a lag is no difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs

from cvms.chain.program import instructions
from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Slot
from cvms.nursery.reconciliation.vault_reindexer import Reindexer
from cvms.store.messaging.topics import ROW_WRITTEN
from cvms.store.reconciliation import pass_position, reconciliation_log
from cvms.store.reconciliation.reconciliation_log import ReconciliationEntry, ReconciliationRow
from cvms.store.security import audit_log, audit_verification
from cvms.store.vaults import history, vaults
from tests.nursery.alerts.test_monitor import monitoring
from tests.nursery.alerts.test_monitor import stored as stored_alerts
from tests.nursery.indexing.test_indexer import cancelled_after
from tests.nursery.program_steps import every_event, lock
from tests.nursery.world import (
    World,
    address,
    finalize,
    full_pass_resolved,
    held_clock,
    running,
    until,
)


async def entries(world: World) -> list[ReconciliationRow]:
    async with world.database.connection() as conn:
        return await reconciliation_log.recent(conn)


def outcomes(world: World, outcome: str) -> float:
    name, labels = "cvms_reconciliation_checks_total", {"outcome": outcome}
    return world.metrics.registry.get_sample_value(name, labels) or 0


def counted(world: World, field: str, *, healed: bool) -> float:
    labels = {"field": field, "healed": "true" if healed else "false"}
    name = "cvms_reconciliation_differences_total"
    return world.metrics.registry.get_sample_value(name, labels) or 0


async def stored(world: World) -> dict[str, list[Any]]:
    """Return all that is derived from the chain's events, without ids and times of recording."""
    queries = {
        "lines": "SELECT owner, kind, amount, balance_after, slot, signature, instruction_index, "
        "ordinal FROM transactions ORDER BY owner, slot, id",
        "events": "SELECT signature, instruction_index, ordinal, slot, name, vault, data "
        "FROM chain_events ORDER BY slot, signature, instruction_index, ordinal",
        "points": "SELECT owner, slot, total, available, locked, timelocked, yield_deposited "
        "FROM balance_history ORDER BY owner, slot",
        "flows": "SELECT * FROM flows WHERE count <> 0 ORDER BY 1, 2, 3",
        "tvl": "SELECT * FROM tvl_hours ORDER BY 1",
        "sizes": "SELECT * FROM vault_sizes WHERE vaults <> 0 ORDER BY 1",
        "totals": "SELECT * FROM event_totals ORDER BY 1",
        "offsets": "SELECT * FROM account_offsets "
        "WHERE (deposited, withdrawn) <> (0, 0) ORDER BY 1",
        "rows": "SELECT owner, total, available, locked, timelocked, yield_deposited, delegates "
        "FROM vaults ORDER BY 1",
    }
    found: dict[str, list[Any]] = {}
    async with world.database.connection() as conn:
        for name, query in queries.items():
            cursor = await conn.execute(query.encode())
            found[name] = await cursor.fetchall()
    found["points"] = _distinct(found["points"])
    return found


def _distinct(points: list[Any]) -> list[Any]:
    """Drop the points that equal the one before."""
    last: dict[str, Any] = {}
    distinct = []
    for owner, slot, *balances in points:
        if balances != last.get(owner, [0] * 5):
            distinct.append((owner, slot, *balances))
        last[owner] = balances
    return distinct


async def two_vaults(world: World) -> tuple[Keypair, Keypair]:
    """Make two vaults, one of them closed and opened again, with several lines in one slot."""
    alice, bob = await world.owner(), await world.owner()
    await world.act(
        alice,
        world.deposit(alice, 700),
        world.withdraw(alice, 700),
        instructions.close_vault(world.programs, alice.pubkey()),
        instructions.initialize_vault(world.programs, alice.pubkey()),
    )
    await world.act(alice, *(world.deposit(alice, amount) for amount in (500, 20, 3)))
    await world.act(bob, world.deposit(bob, 90))
    await world.act(alice, world.withdraw(alice, 7))
    await world.act(alice, world.deposit(alice, 11))
    await world.indexer(batch_size=3).catch_up()
    finalize(world)
    assert await world.indexer().catch_up(), world.progress.problem
    return alice, bob


class Truncating(RpcClient):
    """A node that truncates logs."""

    def __init__(self, rpc: RpcClient) -> None:
        super().__init__(rpc._transport)

    async def get_transactions(
        self, signatures: Sequence[str], *, commitment: Commitment, at_slot: Slot | None = None
    ) -> list[TransactionRecord | None]:
        found = await super().get_transactions(signatures, commitment=commitment, at_slot=at_slot)
        return [each and replace(each, logs=["Log truncated"]) for each in found]


NEW_LINE = """
INSERT INTO transactions (
    owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
    ordinal, commitment
)
SELECT owner, vault, kind, amount, balance_after, slot, block_time, signature, instruction_index,
       ordinal + 1, commitment
FROM transactions
WHERE amount = 20
"""

DAMAGE = {
    "a line is missing": "DELETE FROM transactions WHERE amount = 20",
    "every line is missing": "DELETE FROM transactions",
    "a line of an earlier account is missing": "DELETE FROM transactions WHERE kind = 'withdraw' "
    "AND amount = 700",
    "a line is there twice": NEW_LINE,
    "a line is altered": "UPDATE transactions SET amount = 21, balance_after = 521 "
    "WHERE amount = 20",
    "a line is of another kind": "UPDATE transactions SET kind = 'lock' WHERE amount = 11",
    "a line is another owner's": "UPDATE transactions SET owner = (SELECT max(owner) FROM vaults "
    "WHERE total = 90) WHERE amount = 11",
    "events were never recorded": "WITH lost AS (DELETE FROM chain_events "
    "WHERE name = 'DepositEvent' AND data ->> 'amount' = '20' RETURNING signature, ordinal) "
    "DELETE FROM transactions WHERE amount = 20",
    "the newest balance is wrong": "UPDATE balance_history SET locked = 5, available = available "
    "- 5 WHERE slot = (SELECT max(slot) FROM balance_history)",
    "balances are missing": "DELETE FROM balance_history",
    "an offset is wrong": "UPDATE account_offsets SET deposited = 1",
    "a row is wrong": "UPDATE vaults SET total = total + 3, available = available + 3",
    "a row is missing": "DELETE FROM vaults WHERE total = 90",
    "a row's composition is wrong": "UPDATE vaults SET available = available - 1, locked = 1",
    "sums by size are wrong": "UPDATE vault_sizes SET total = total + 1",
    "sums over time are wrong": "UPDATE tvl_hours SET tvl = tvl + 1",
    "flows are wrong": "UPDATE flows SET amount = amount + 1 WHERE bucket = 'hour'",
    "totals are wrong": "UPDATE event_totals SET count = count + 1",
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_any_damage_is_logged_and_repaired(world: World, damage: str) -> None:
    await two_vaults(world)
    before, published = await stored(world), len(await world.outbox())
    await world.execute(DAMAGE[damage])
    assert await stored(world) != before
    reconciler = world.reconciler()
    for _ in range(2):  # a missing row hides what differs besides
        await full_pass_resolved(world, reconciler)
    assert await stored(world) == before
    found = await entries(world)
    assert found
    assert all(each.healed and each.cause for each in found)
    assert all(counted(world, each.field, healed=True) for each in found)
    assert not reconciler._pending
    topics = {row.topic for row in (await world.outbox())[published:]}
    assert topics <= {ROW_WRITTEN, "vault_balance_update"}
    await full_pass_resolved(world, reconciler)
    assert len(await entries(world)) == len(found)


async def test_every_kind_of_history_line_is_restored_to_the_unit(world: World) -> None:
    alice, bob = await every_event(world), await world.owner(tokens=1_000)
    await world.act(bob, world.deposit(bob, 1_000))
    await lock(world, bob, 900)
    emergency = instructions.emergency_withdraw(
        world.programs, authority=bob.pubkey(), owner=bob.pubkey(), amount=700
    )
    await world.act(bob, emergency)
    await world.indexer(batch_size=5).catch_up()
    before, reconciler = await stored(world), world.reconciler()
    await full_pass_resolved(world, reconciler)
    assert await entries(world) == []
    owners = [address(alice), address(bob)]
    lost = "DELETE FROM transactions WHERE kind <> 'deposit' AND owner = ANY(%s)"
    await world.execute(lost, owners)
    lost = "DELETE FROM chain_events USING vaults WHERE vaults.vault = chain_events.vault "
    await world.execute(lost + "AND vaults.owner = ANY(%s) AND name <> 'DepositEvent'", owners)
    for _ in range(2):
        await full_pass_resolved(world, reconciler)
    assert await stored(world) == before
    assert {each.owner for each in await entries(world)} >= {address(alice), address(bob)}
    assert not reconciler._pending


async def test_a_correction_names_the_difference_and_its_transaction(world: World) -> None:
    alice, _ = await two_vaults(world)
    await world.execute(DAMAGE["events were never recorded"])
    with capture_logs() as logs:
        await full_pass_resolved(world, world.reconciler())
    lost = {each.field: each for each in await entries(world)}
    assert (lost["history_line"].expected, lost["history_line"].actual) == (20, None)
    assert lost["event"].cause.startswith("DepositEvent missing from the database: signature ")
    assert (lost["history_deposited"].expected, lost["history_deposited"].actual) == (534, 514)
    corrected = [each for each in logs if each["event"] == "history_corrected"]
    assert {each["owner"] for each in corrected} == {address(alice)}
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=10)
        assert (await audit_verification.verify(conn)).broken is None
    assert (entry.actor, entry.action, entry.owner) == (
        "reconciler",
        "history_corrected",
        address(alice),
    )


async def test_pages_of_the_history_continue_past_a_restored_line(world: World) -> None:
    alice, _ = await two_vaults(world)
    async with world.database.connection() as conn:
        whole = await history.page(conn, address(alice), limit=100)
        await world.execute("DELETE FROM transactions WHERE amount = 20")
        first = await history.page(conn, address(alice), limit=1)
        await full_pass_resolved(world, world.reconciler())
        rest = await history.page(conn, address(alice), limit=100, before_id=first[-1].id)
        of_kind = await history.page(conn, address(alice), limit=2, kind="deposit")
    amounts = [line.amount for line in whole]
    assert [line.amount for line in (*first, *rest)] == amounts == [11, 7, 3, 20, 500, 700, 700]
    assert [line.amount for line in of_kind] == [11, 3]


async def test_nothing_is_healed_before_it_is_final(world: World) -> None:
    await two_vaults(world)
    await world.execute(DAMAGE["a line is missing"])
    await world.execute(DAMAGE["a row is wrong"])
    world.chain.chain.pause()
    world.chain.chain.advance(1)
    reconciler = world.reconciler()
    await world.indexer().catch_up()
    await reconciler.full_pass()
    await reconciler.resolve_pending()
    assert await entries(world) == []
    assert reconciler._pending
    finalize(world)
    await world.indexer().catch_up()
    await reconciler.resolve_pending()
    assert await entries(world)
    assert not reconciler._pending


async def test_truncated_logs_prove_nothing_and_are_logged_once_a_pass(world: World) -> None:
    await two_vaults(world)
    await world.execute(DAMAGE["a line is missing"])
    damaged = await stored(world)
    reconciler = world.reconciler(rpc=Truncating(world.rpc))
    await full_pass_resolved(world, reconciler)
    once = await entries(world)
    assert {each.field for each in once} == {
        "history_deposited",
        "history_total",
        "history_available",
    }
    assert not any(each.healed for each in once)
    assert all("the node truncated the logs of " in each.cause for each in once)
    assert counted(world, "history_deposited", healed=False) == 1
    for _ in range(2):  # again in the same pass, as when the vault moves
        await reconciler.check(each.owner for each in once)
        finalize(world)
        await world.indexer().catch_up()
        await reconciler.resolve_pending()
    assert len(await entries(world)) == len(once)
    assert await stored(world) == damaged
    await full_pass_resolved(world, reconciler)
    assert len(await entries(world)) == 2 * len(once)
    await full_pass_resolved(world, world.reconciler())
    assert (await stored(world)) != damaged
    assert all(each.healed for each in (await entries(world))[:3])


async def test_a_node_without_the_opening_removes_no_line(world: World) -> None:
    class Forgetful(RpcClient):
        async def get_signatures_for_address(self, *args: Any, **options: Any) -> Any:
            found = await super().get_signatures_for_address(*args, **options)
            return [] if options.get("before") else found[:2]

    await two_vaults(world)
    await world.execute(DAMAGE["a line is missing"])
    damaged = await stored(world)
    await full_pass_resolved(world, world.reconciler(rpc=Forgetful(world.rpc._transport)))
    assert await stored(world) == damaged
    shown = world.board.checks.statuses()["differences"]
    assert not shown.ok
    assert shown.detail.startswith("1 vaults differ from the chain and could not be corrected")
    assert all("has no beginning" in each.cause for each in await entries(world))
    await full_pass_resolved(world, reconciler := world.reconciler())
    await full_pass_resolved(world, reconciler)
    assert world.board.checks.statuses()["differences"].ok


async def test_a_node_that_omits_a_transaction_removes_no_line(world: World) -> None:
    class Omitting(RpcClient):
        async def get_signatures_for_address(self, *args: Any, **options: Any) -> Any:
            found = await super().get_signatures_for_address(*args, **options)
            return [info for info in found if info.signature != left_out]

    alice, _ = await two_vaults(world)
    async with world.database.connection() as conn:
        left_out = (await history.page(conn, address(alice), limit=1))[0].signature
    await world.execute(DAMAGE["a line is missing"])
    damaged = await stored(world)
    await full_pass_resolved(world, world.reconciler(rpc=Omitting(world.rpc._transport)))
    assert await stored(world) == damaged
    assert all(
        "do not add up to the vault's account" in each.cause for each in await entries(world)
    )


async def test_two_replicas_heal_a_difference_once(world: World) -> None:
    await two_vaults(world)
    before = await stored(world)
    await world.execute(DAMAGE["events were never recorded"])
    replicas = [world.reconciler(), world.reconciler()]
    for each in replicas:
        await each.full_pass()
    finalize(world)
    await world.indexer().catch_up()
    async with trio.open_nursery() as nursery:
        for each in replicas:
            nursery.start_soon(each.resolve_pending)
    await full_pass_resolved(world, replicas[0])
    assert await stored(world) == before
    found = [each for each in await entries(world) if each.field in ("event", "history_line")]
    assert len(found) == 2


async def test_a_repair_that_is_cancelled_is_either_complete_or_has_no_effect(world: World) -> None:
    alice, _ = await two_vaults(world)
    before = await stored(world)
    world.chain.chain.pause()
    vault = vault_address(world.programs, alice.pubkey())
    reindexer = Reindexer(
        database=world.database, rpc=world.rpc, programs=world.programs, metrics=world.metrics
    )
    heal = partial(reindexer.reindex, vault, address(alice))
    await world.execute(DAMAGE["a line is missing"])
    damaged = await stored(world)
    step, finished = 0, False
    while not finished:
        step += 1
        finished = not await cancelled_after(step, heal)
        assert await stored(world) in (before, damaged), f"cancelled after step {step}"
    assert await stored(world) == before
    assert step > 10


async def test_a_restart_resumes_the_pass(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvms.nursery.reconciliation.reconciler.VAULTS_PER_CALL", 1)
    owners = sorted([address(await world.owner()) for _ in range(3)])
    await world.indexer().catch_up()
    assert await world.reconciler()._continue_pass()
    async with world.database.connection() as conn:
        assert (await pass_position.read(conn)).after_owner == owners[0]
    assert outcomes(world, "equal") == 1
    again = world.reconciler()
    while await again._continue_pass():
        pass
    assert outcomes(world, "equal") == 3
    assert not await world.reconciler()._continue_pass()  # the next is due in a minute
    async with world.database.connection() as conn:
        assert (await pass_position.read(conn)).finished
    runs = "cvms_task_run_duration_seconds_count"
    assert world.metrics.registry.get_sample_value(runs, {"task": "reconciler"}) == 1


async def test_a_vault_that_changes_all_the_time_is_healed_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvms.nursery.reconciliation.reconciler.BUSY_ATTEMPTS", 3)
    alice, _ = await two_vaults(world)
    before = (await stored(world))["lines"]
    await world.execute(DAMAGE["a line is missing"])
    reconciler, indexer = world.reconciler(), world.indexer()
    for _ in range(10):
        await reconciler.check([address(alice)])
        await world.act(alice, world.deposit(alice, 1))
        with held_clock(world.chain.chain):  # or more becomes final than is indexed
            await indexer.catch_up()
            await reconciler.resolve_pending()
    async with world.database.connection() as conn:
        lines = await history.in_order(conn, address(alice))
    assert [line.amount for line in lines if line.amount > 1] == [
        amount for owner, _, amount, *_ in before if owner == address(alice)
    ]


async def test_a_corrupted_row_is_logged_and_healed(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    with capture_logs() as logs:
        await full_pass_resolved(world, world.reconciler())
    differences = {
        (row.field, row.expected, row.actual, row.difference) for row in await entries(world)
    }
    assert differences == {("total", 500, 503, -3), ("available", 500, 503, -3)}
    assert all(row.healed for row in await entries(world))
    assert {entry["field"] for entry in logs if entry["event"] == "difference_found"} == {
        "total",
        "available",
    }
    assert outcomes(world, "difference") == 1
    assert await world.problems() == []
    healed = (await world.outbox("vault_balance_update"))[-1]
    assert (healed.data["balance"], healed.data["previous_balance"], healed.data["delta"]) == (
        500,
        503,
        -3,
    )
    assert healed.signature is None


async def test_a_lost_delegate_is_healed_although_no_amount_differs(world: World) -> None:
    owner = await world.owner()
    add = instructions.add_delegate(
        world.programs, owner=owner.pubkey(), delegate=world.operator.pubkey()
    )
    await world.act(owner, add)
    await world.indexer().catch_up()
    await world.execute("UPDATE vaults SET delegates = '{}'")
    await full_pass_resolved(world, world.reconciler())
    assert [(row.field, row.healed) for row in await entries(world)] == [("state", True)]
    assert await world.problems() == []


async def test_a_row_that_only_lags_is_no_difference(world: World) -> None:
    owner = await world.owner()
    await world.indexer().catch_up()
    await world.act(owner, world.deposit(owner, 500))
    reconciler = world.reconciler()
    await reconciler.full_pass()
    await reconciler.resolve_pending()
    assert outcomes(world, "equal") == outcomes(world, "difference") == 0
    await world.indexer().catch_up()
    await reconciler.resolve_pending()
    assert outcomes(world, "equal") == 1
    assert await entries(world) == []


async def test_a_stream_of_transactions_causes_no_false_difference(world: World) -> None:
    owners = [await world.owner() for _ in range(3)]
    indexer, reconciler = world.indexer(), world.reconciler()
    reconciler.interval = 0.05

    async def flow(owner: Any) -> None:
        for amount in range(1, 9):
            await world.act(owner, world.deposit(owner, 10 + amount), wait=amount % 3 == 0)
            await world.act(owner, world.withdraw(owner, amount), wait=amount % 2 == 0)

    async with running(indexer.run, reconciler.run):
        async with trio.open_nursery() as flows:
            for owner in owners:
                flows.start_soon(flow, owner)

        async def settled() -> bool:
            checked = outcomes(world, "equal") >= 6
            return checked and not reconciler._pending and await world.problems() == []

        await until(settled)
    assert await entries(world) == []
    assert outcomes(world, "difference") == 0


async def test_differences_within_the_threshold_are_ignored(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    await world.execute("UPDATE vaults SET total = total + 3, available = available + 3")
    await full_pass_resolved(world, world.reconciler(threshold=3))
    assert await entries(world) == []
    await full_pass_resolved(world, world.reconciler(threshold=2))
    assert len(await entries(world)) == 2


async def test_a_token_account_that_does_not_cover_the_vault_is_logged(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 500))
    await world.indexer().catch_up()
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    params = [row.vault, str(world.programs.mint), {"amount": 499}]
    await world.rpc.call("surfnet_setTokenAccount", params)
    world.chain.chain.advance(2)
    await full_pass_resolved(world, world.reconciler())
    [entry] = await entries(world)
    assert (entry.field, entry.expected, entry.actual) == ("token_account", 500, 499)


async def test_kept_sums_that_drifted_from_the_history_are_counted_again(world: World) -> None:
    """As after a restore with its triggers off. The history, which is right, stays as it was."""
    await two_vaults(world)
    before, books = await kept_sums(world), await stored(world)
    await world.execute("UPDATE history_sums SET amount = amount + 1 WHERE kind = 'deposit'")
    await world.execute("DELETE FROM history_sums WHERE kind = 'withdraw'")
    reconciler = world.reconciler()
    with capture_logs() as logs:
        await reconciler.full_pass()
        await reconciler.resolve_pending()
    assert await kept_sums(world) == before
    assert await stored(world) == books
    events = [line["event"] for line in logs if line["log_level"] == "error"]
    assert events == ["history_sums_counted_again"] * 2


@pytest.mark.parametrize("damage", ["a row is wrong", "a row is missing"])
async def test_a_row_altered_just_before_the_sums_are_checked_alters_no_sum(
    world: World, damage: str
) -> None:
    await two_vaults(world)
    before = await stored(world)
    reconciler = world.reconciler()
    with held_clock(world.chain.chain):
        await world.indexer().catch_up()
        await reconciler.full_pass()
        await world.execute(DAMAGE[damage])  # after the pass, before its sums
        await reconciler.resolve_pending()
    assert await entries(world) == []
    assert (await stored(world))["sizes"] == before["sizes"]
    await full_pass_resolved(world, reconciler)
    assert await stored(world) == before
    found = await entries(world)
    assert {each.field for each in found} <= {"row", "total", "available"}
    assert all(each.healed for each in found)
    assert set(await alerts_after_a_look(world)) == {("books_healed", "open")}


async def test_a_row_that_is_healed_counts_no_other_altered_row_into_the_sums(
    world: World,
) -> None:
    _, bob = await two_vaults(world)
    before = await stored(world)
    reconciler = world.reconciler()
    await world.execute(DAMAGE["a row is wrong"])
    for damage in ("SELECT", DAMAGE["a row is missing"]):
        await world.execute(damage)
        await reconciler.check([address(bob)])
        finalize(world)
        await world.indexer().catch_up()
        await reconciler.resolve_pending()
        assert (await stored(world))["sizes"] == before["sizes"]
    healed = {(each.owner, each.healed) for each in await entries(world)}
    assert healed == {(address(bob), True)}
    await full_pass_resolved(world, reconciler)
    assert await stored(world) == before


async def test_a_difference_that_could_not_be_healed_is_over_once_the_books_agree(
    world: World,
) -> None:
    await two_vaults(world)
    await world.execute(DAMAGE["a line is missing"])
    await full_pass_resolved(world, world.reconciler(rpc=Truncating(world.rpc)))
    async with world.database.transaction() as conn:
        await reconciliation_log.log(conn, of_all_vaults("tvl"))  # of an earlier release
    differ = [("books_differ", "open")]
    assert await alerts_after_a_look(world) == differ * 2
    reconciler = world.reconciler()
    await full_pass_resolved(world, reconciler)
    await full_pass_resolved(world, reconciler)
    found = await alerts_after_a_look(world)
    assert sorted(found) == [*[("books_differ", "resolved")] * 2, ("books_healed", "open")]
    told = [row.data for row in await world.outbox("security_alert")]
    states = [each["state"] for each in told if each["kind"] == "books_differ"]
    assert states == ["open", "open", "resolved", "resolved"]


async def alerts_after_a_look(world: World) -> list[tuple[str, str]]:
    """Return the kind and state of each alert, once the monitor has read the differences."""
    async with monitoring(world.database) as monitor:
        await monitor.run_once()
    return [
        (row.kind, row.state)
        for row in await stored_alerts(world.database)
        if row.kind.startswith("books")
    ]


def of_all_vaults(field: str) -> ReconciliationEntry:
    about: dict[str, Any] = {"vault": "*", "owner": "*", "expected": 2, "actual": 1}
    return reconciliation_log.entry(**about, field=field, chain_slot=1, healed=False, cause="")


async def kept_sums(world: World) -> list[Any]:
    async with world.database.connection() as conn:
        query = "SELECT owner, kind, count, amount FROM history_sums ORDER BY owner, kind"
        return list(await (await conn.execute(query)).fetchall())
