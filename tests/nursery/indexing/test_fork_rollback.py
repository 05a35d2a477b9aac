"""Rollback of forks: the tables are then those of the surviving chain."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.dev.chain_setup import make_mint
from cvms.nursery.channels.hub import outbox_frame
from cvms.store.vaults import vaults
from tests.nursery.forking import Forking, opened, until_applied
from tests.nursery.indexing.test_indexer import cancelled_after
from tests.nursery.world import address, running


async def test_what_a_fork_drops_for_good_is_rolled_back(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    [kept] = await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer().catch_up()
    dropped = await forking.act(
        (owner, world.deposit(owner, 20)), (owner, world.withdraw(owner, 3))
    )
    await world.indexer().catch_up()
    assert [amount for _, amount, _ in await world.history(owner)] == [100, 20, 3]

    forking.fork(2)
    await forking.catch_up()
    assert await world.history(owner) == [("deposit", 100, 100)]
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.total == 100
    assert await forking.published() == [
        ("event", kept, 100),
        ("event", dropped[0], 20),
        ("event", dropped[1], 3),
        ("retracted", dropped[1], 3),
        ("retracted", dropped[0], 20),
    ]
    assert world.metrics.registry.get_sample_value("cvms_indexer_retracted_events_total") == 4
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_a_retracted_message_equals_the_published_one(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 20)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.catch_up()
    event, retracted = await world.outbox("deposit_event")
    assert retracted.type == "retracted"
    assert retracted.seq == event.seq + 1
    assert (retracted.slot, retracted.data) == (event.slot, event.data)
    assert (retracted.owner, retracted.commitment) == (event.owner, event.commitment)
    frame = msgspec.json.decode(outbox_frame(retracted).wire[4:])
    assert (frame["type"], frame["topic"], frame["data"]["amount"]) == (
        "retracted",
        "deposit_event",
        20,
    )
    updates = await world.outbox("vault_balance_update")
    assert [row.data["balance"] for row in updates] == [0, 20, 0]
    assert [row.data["delta"] for row in updates] == [0, 20, -20]
    assert updates[-1].data["previous_balance"] == 20
    assert updates[-1].signature is None  # no transaction has taken it back


async def test_what_lands_again_in_another_order_is_applied_again(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    one, two = await opened(forking), await opened(forking)
    await forking.act((one, world.deposit(one, 1)), (two, world.deposit(two, 2)))
    await forking.act((owner, world.deposit(owner, 100)), (one, world.deposit(one, 4)))
    await world.indexer().catch_up()
    before = await forking.published()

    forking.fork(4, reversed)
    await forking.catch_up()
    published = await forking.published()
    amounts = [amount for _, _, amount in before]
    assert [amount for type_, _, amount in published if type_ == "event"] == amounts + amounts[::-1]
    assert [amount for type_, _, amount in published if type_ == "retracted"] == amounts[::-1]
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_what_lands_again_unchanged_is_applied_in_its_new_slot(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    [sent] = await forking.act((owner, world.deposit(owner, 20)))
    await world.indexer().catch_up()
    forking.fork(2, list)
    await forking.catch_up()
    assert await forking.published() == [
        ("event", sent, 20),
        ("retracted", sent, 20),
        ("event", sent, 20),
    ]
    first, _, second = await world.outbox("deposit_event")
    assert second.slot > first.slot
    assert await forking.differing() == {}


async def test_a_vault_opened_on_a_dropped_fork_has_no_row(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    other = await forking.wallet()
    opening = instructions.initialize_vault(world.programs, other.pubkey())
    await forking.act((other, opening), (other, world.deposit(other, 5)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.catch_up()
    async with world.database.connection() as conn:
        assert await vaults.get(conn, address(other)) is None
    assert await forking.differing() == {}

    await forking.act((other, opening), (owner, world.deposit(owner, 7)))
    await forking.catch_up()
    assert await forking.differing() == {}


async def test_a_vault_reopened_on_a_dropped_fork_is_rolled_back(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 30)), (owner, world.withdraw(owner, 30)))
    await world.indexer().catch_up()
    close = instructions.close_vault(world.programs, owner.pubkey())
    opening = instructions.initialize_vault(world.programs, owner.pubkey())
    await forking.act((owner, close), (owner, opening), (owner, world.deposit(owner, 5)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.catch_up()
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_a_fork_of_transactions_without_events_rewinds_the_cursor(forking: Forking) -> None:
    """A transaction that fails or adds a delegate has no event."""
    world, owner = forking.world, await opened(forking)
    delegate = Keypair().pubkey()
    add = instructions.add_delegate(world.programs, owner=owner.pubkey(), delegate=delegate)
    before = await world.cursor()
    await forking.act((owner, add), (owner, world.withdraw(owner, 1)))
    await world.indexer().catch_up()
    forking.fork(2)
    await forking.catch_up()
    assert await world.cursor() == before
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    assert row.delegates == ()
    assert await forking.differing() == {}


async def test_two_forks_between_two_runs_are_rolled_back(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    await forking.act((owner, world.deposit(owner, 100)))
    await world.indexer(batch_size=1).catch_up()
    forking.fork(2, reversed)
    await forking.act((owner, world.withdraw(owner, 40)))
    forking.fork(3)
    await forking.act((owner, world.deposit(owner, 6)), (owner, world.deposit(owner, 7)))
    await forking.catch_up(world.indexer(batch_size=1))
    assert await forking.differing() == {}
    forking.fork(2, reversed)
    await forking.catch_up(world.indexer(batch_size=1))
    forking.fork(2, reversed)
    await forking.catch_up(world.indexer(batch_size=1))
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_a_fork_deeper_than_a_batch_and_killed_at_any_point(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    other = await opened(forking)
    step, finished = 0, False
    while not finished:
        step += 7
        steps = [(key, world.deposit(key, each)) for key in (owner, other) for each in (1, 2)]
        await forking.act(*steps, (owner, world.withdraw(owner, 1)))
        await forking.catch_up(world.indexer(batch_size=2))
        forking.fork(2, lambda dropped: dropped[1::2])
        finished = not await cancelled_after(step, world.indexer(batch_size=2).catch_up)
        await forking.catch_up(world.indexer(batch_size=2))
        assert await world.problems() == [], f"cancelled after step {step}"
        world.resources.reconcile_queue.take()
    assert step > 50
    assert await forking.differing() == {}


async def test_two_indexers_follow_forks(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    other = await opened(forking)
    one, two = world.indexer(batch_size=2), world.indexer(batch_size=3)
    async with running(one.run, two.run):
        for amount in range(1, 6):
            steps = [(key, world.deposit(key, amount)) for key in (owner, other)]
            await forking.act(*steps, (owner, world.withdraw(owner, 1)))
            await until_applied(world)
            forking.fork(2, reversed)
            await until_applied(world)
    assert await forking.differing() == {}
    assert await world.problems() == []


async def test_it_follows_forks_live(forking: Forking) -> None:
    world, owner = forking.world, await opened(forking)
    async with running(world.indexer().run):
        for amount in (1, 2, 3):
            await forking.act((owner, world.deposit(owner, amount)))
            await until_applied(world)
            forking.fork(2)
            with trio.fail_after(10):
                await until_applied(world)
    assert await world.history(owner) == []
    assert await forking.differing() == {}


async def test_a_vault_that_took_our_mint_on_a_dropped_fork_has_no_row(
    forking: Forking,
) -> None:
    world, key = forking.world, await forking.wallet()
    other = replace(world.programs, mint=Pubkey.new_unique())
    world.chain.chain.resume()
    await make_mint(world.rpc, other.mint, authority=key.pubkey())
    await world.act(key, instructions.initialize_vault(other, key.pubkey()))
    world.chain.chain.pause()
    world.chain.chain.advance(6)
    await world.indexer().catch_up()

    close = instructions.close_vault(other, key.pubkey())
    opening = instructions.initialize_vault(world.programs, key.pubkey())
    await forking.act((key, close), (key, opening), (key, world.deposit(key, 5)))
    await world.indexer().catch_up()
    assert len(await world.history(key)) == 1
    forking.fork(2)
    await forking.catch_up()
    async with world.database.connection() as conn:
        assert await vaults.get(conn, address(key)) is None
    assert await forking.differing() == {}
