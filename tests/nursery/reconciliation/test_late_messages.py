"""Subscribers are told of an event that was found late, once, and of none that they know."""

from __future__ import annotations

from datetime import timedelta

import pytest
import trio
from solders.keypair import Keypair

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.store.messaging import outbox
from tests.nursery.reconciliation.test_reconciler import DAMAGE, stored, two_vaults
from tests.nursery.world import World, address, finalize, full_pass_resolved, held_clock
from tests.provider_proxy import provider
from tests.provider_proxy.history_faults import BlockTimes, MissingEntries

GHOST_EVENT = """
INSERT INTO chain_events
SELECT (jsonb_populate_record(row, jsonb_build_object('signature', %s::TEXT))).*
FROM chain_events AS row
WHERE name = 'DepositEvent'
  AND data ->> 'amount' = '20'
"""
GHOST_LINE = """
INSERT INTO transactions OVERRIDING SYSTEM VALUE
SELECT (jsonb_populate_record(row, jsonb_build_object('signature', %s::TEXT, 'id', 1000000))).*
FROM transactions AS row
WHERE amount = 20
"""

Told = list[tuple[str, str, int]]


async def told(world: World, after: int = 0) -> Told:
    """Return type, signature and amount of the messages about events."""
    rows = (await world.outbox())[after:]
    return [
        (row.type, row.signature or "", row.data["amount"])
        for row in rows
        if row.topic in ("deposit_event", "withdraw_event")
    ]


async def indexed_with_a_hole(world: World, *, hidden: int) -> tuple[Keypair, list[str]]:
    """Index four transactions of an owner from a node that hides the first ones."""
    owner, other = await world.owner(), await world.owner()
    signatures = [await world.act(owner, world.deposit(owner, amount)) for amount in (5, 6)]
    signatures.append(await world.act(owner, world.withdraw(owner, 2)))
    await world.act(other, world.deposit(other, 1))
    fault = MissingEntries(share=0, signatures=signatures[3 - hidden :])
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, fault) as node,
        open_rpc([node.url]) as rpc,
    ):
        await world.indexer(rpc=rpc).catch_up()
    finalize(world)
    return owner, signatures


@pytest.mark.parametrize("hidden", [1, 2, 3])
async def test_events_found_late_are_told_once_and_in_order(world: World, hidden: int) -> None:
    owner, signatures = await indexed_with_a_hole(world, hidden=hidden)
    before = len(await world.outbox())
    for _ in range(2):
        await full_pass_resolved(world, world.reconciler())
    events = list(zip(["event"] * 3, signatures, [5, 6, 2], strict=True))
    assert await told(world, before) == events[3 - hidden :]
    assert await world.problems() == []
    rows = [row for row in await world.outbox() if row.owner == address(owner)]
    balances = [row.data["balance"] for row in rows if row.topic == "vault_balance_update"]
    assert balances[-1] == 9
    withdrawal = next(row.data for row in rows if row.topic == "withdraw_event")
    assert (withdrawal["kind"], withdrawal["balance_after"]) == ("withdraw", 9)


async def test_two_replicas_that_heal_at_once_tell_once(world: World) -> None:
    _, signatures = await indexed_with_a_hole(world, hidden=2)
    replicas = [world.reconciler(), world.reconciler()]
    with held_clock(world.chain.chain):
        await world.indexer().catch_up()
        for each in replicas:
            await each.full_pass()
        finalize(world)
        await world.indexer().catch_up()
        async with trio.open_nursery() as nursery:
            for each in replicas:
                nursery.start_soon(each.resolve_pending)
    assert [signature for _, signature, _ in await told(world)][-2:] == signatures[1:]
    assert len(await told(world)) == 4
    assert await world.problems() == []


async def test_what_was_told_late_is_not_told_again_after_it_was_lost(world: World) -> None:
    await indexed_with_a_hole(world, hidden=2)
    await full_pass_resolved(world, world.reconciler())
    before, all_told = await stored(world), await told(world)
    await world.execute("DELETE FROM transactions")
    await world.execute("DELETE FROM chain_events WHERE name IN ('DepositEvent', 'WithdrawEvent')")
    await full_pass_resolved(world, world.reconciler())
    assert await stored(world) == before
    assert await told(world) == all_told


async def test_an_event_of_before_the_retention_is_not_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await indexed_with_a_hole(world, hidden=2)
    all_told = await told(world)
    monkeypatch.setattr(outbox, "RETENTION", timedelta(0))
    await full_pass_resolved(world, world.reconciler())
    assert await told(world) == all_told


@pytest.mark.parametrize("hidden", [1, 3])
async def test_an_event_without_a_time_is_told_if_an_earlier_one_is_recent(
    world: World, hidden: int
) -> None:
    _, signatures = await indexed_with_a_hole(world, hidden=hidden)
    before = len(await world.outbox())
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, BlockTimes(time=None)) as node,
        open_rpc([node.url]) as rpc,
    ):
        for _ in range(2):
            await full_pass_resolved(world, world.reconciler(rpc=rpc))
    late = [signature for _, signature, _ in await told(world, before)]
    assert late == (signatures[-1:] if hidden == 1 else [])  # all others are of later slots


async def test_a_time_in_the_future_makes_no_event_recent(world: World) -> None:
    await indexed_with_a_hole(world, hidden=1)
    before = len(await world.outbox())
    for table in ("chain_events", "transactions", "balance_history"):
        await world.execute(f"UPDATE {table} SET block_time = now() + INTERVAL '1000 years'")
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, BlockTimes(time=None)) as node,
        open_rpc([node.url]) as rpc,
    ):
        await full_pass_resolved(world, world.reconciler(rpc=rpc))
    assert await told(world, before) == []


async def test_what_was_told_and_is_in_no_transaction_is_retracted(world: World) -> None:
    alice, _ = await two_vaults(world)
    before = await stored(world)
    # As if a dropped block had been applied: event, line and message are of no transaction.
    ghost = str(Keypair().sign_message(b"dropped"))
    await world.execute(GHOST_EVENT, ghost)
    await world.execute(GHOST_LINE, ghost)
    [published] = [row for row in await world.outbox("deposit_event") if row.data["amount"] == 20]
    async with world.database.transaction() as conn:
        await outbox.append(
            conn,
            [
                outbox.OutboxMessage(
                    topic=published.topic,
                    owner=published.owner,
                    slot=published.slot,
                    signature=ghost,
                    commitment="confirmed",
                    data=published.data,
                )
            ],
        )
    known, reconciler = len(await world.outbox()), world.reconciler()
    for _ in range(2):  # sums follow
        await full_pass_resolved(world, reconciler)
    assert await stored(world) == before
    assert await told(world, known) == [("retracted", ghost, 20)]
    [message] = [row for row in (await world.outbox())[known:] if row.type == "retracted"]
    assert message.data == published.data
    assert message.owner == address(alice)


async def test_an_altered_line_is_told_again_by_nobody(world: World) -> None:
    await two_vaults(world)
    all_told = await told(world)
    await world.execute(DAMAGE["a line is altered"])
    await full_pass_resolved(world, world.reconciler())
    assert await told(world) == all_told
