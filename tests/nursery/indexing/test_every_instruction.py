"""Every instruction of the programs: its effect on rows, history, outbox and the total."""

from __future__ import annotations

from typing import get_args

from solders.keypair import Keypair

from cvms.chain.program import instructions
from cvms.chain.program.addresses import vault_address
from cvms.chain.program.events.events import Event
from cvms.store.vaults import history, vaults
from cvms.store.vaults.history import HistoryRow
from cvms.store.vaults.open_timelocks import open_timelocks
from cvms.store.vaults.vaults import VaultRow
from tests.nursery.program_steps import (
    HOUR,
    YEAR,
    account_of,
    compound,
    earn,
    every_event,
    leave,
    lock,
    pool_of,
    rebalance,
    travel,
    unlock,
    yield_accounts,
)
from tests.nursery.world import World, address, assert_books_match


async def test_locks_and_transfers_leave_the_total_and_compounding_adds_to_it(
    world: World,
) -> None:
    alice, bob = await world.owner(tokens=1_000_000), await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 1_000_000), world.agree(alice))
    await world.act(bob, world.deposit(bob, 1_000))
    assert await total(world) == 1_001_000
    await lock(world, alice, 600_000)
    assert await total(world) == 1_001_000
    await world.act(alice, unlock(world, alice, 600_000))
    await rebalance(world, alice, bob, 50_000)
    assert await total(world) == 1_001_000
    await earn(world, alice, 200_000)
    assert await total(world) == 1_001_000
    await compound(world, alice, 10_000)
    assert await total(world) == 1_011_000
    await world.act(alice, world.withdraw(alice, 1_000))
    assert await total(world) == 1_010_000
    await assert_books_match(world)

    assert await world.history(alice) == [
        ("deposit", 1_000_000, 1_000_000),
        ("lock", 600_000, None),
        ("unlock", 600_000, None),
        ("transfer_out", 50_000, 950_000),
        ("yield_deposit", 200_000, None),
        ("yield_compound", 10_000, None),
        ("withdraw", 1_000, 959_000),
    ]
    assert await world.history(bob) == [("deposit", 1_000, 1_000), ("transfer_in", 50_000, 51_000)]
    row = await row_of(world, alice)
    assert (row.total, row.available, row.yield_deposited) == (959_000, 749_000, 210_000)


async def test_a_transfer_takes_what_is_locked_first_and_names_who_called(world: World) -> None:
    alice, bob = await world.owner(tokens=1_000), await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 1_000), world.agree(alice))
    await lock(world, alice, 300)
    await rebalance(world, alice, bob, 200, settles=True)
    await rebalance(world, alice, bob, 250)
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.total, row.available, row.locked) == (550, 550, 0)
    assert await world.history(alice) == [
        ("deposit", 1_000, 1_000),
        ("lock", 300, None),
        ("unlock", 200, None),
        ("transfer_out", 200, 800),
        ("unlock", 100, None),
        ("transfer_out", 250, 550),
    ]
    published = await messages(world, "transfer_event")
    manager = str(world.programs.position_manager)
    assert [(data["kind"], data["from_locked"], data["caller"]) for data in published] == [
        ("transfer_out", 200, manager),
        ("transfer_in", 200, manager),
        ("transfer_out", 100, manager),
        ("transfer_in", 100, manager),
    ]


async def test_a_cancelled_timelock_ends_at_once_or_after_the_delay(world: World) -> None:
    alice = await world.owner(tokens=1_000)
    key, programs = alice.pubkey(), world.programs
    schedule, cancel = instructions.schedule_timelock, instructions.cancel_timelock
    await world.act(
        alice,
        world.deposit(alice, 1_000),
        *(
            schedule(programs, authority=key, owner=key, amount=amount, duration_seconds=YEAR)
            for amount in (100, 200)
        ),
    )
    first, second = (await account_of(world, alice)).timelocks
    cancelled = cancel(programs, owner=key, amount=100, unlock_time=first.unlock_time)
    delay = instructions.set_withdraw_min_delay(programs, owner=key, seconds=HOUR)
    await world.act(alice, cancelled, delay)
    await assert_books_match(world)
    assert (await row_of(world, alice)).timelocked == 200
    await world.act(alice, cancel(programs, owner=key, amount=200, unlock_time=second.unlock_time))
    await assert_books_match(world)
    [left] = (await row_of(world, alice)).state["timelocks"]
    assert left["unlock_time"] < second.unlock_time
    async with world.database.connection() as conn:
        [known] = await open_timelocks(conn, str(vault_address(programs, key)))
    assert (known.amount, known.unlock_time) == (200, left["unlock_time"])
    travel(world, HOUR)
    release = instructions.release_timelocks(programs, authority=key, owner=key)
    await world.act(alice, release)
    await assert_books_match(world)
    assert (await world.history(alice))[-2:] == [
        ("timelock_release", 100, None),
        ("timelock_release", 200, None),
    ]


async def test_what_no_position_claims_is_released_and_swept_tokens_are_in_no_book(
    world: World,
) -> None:
    alice = await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 900))
    await lock(world, alice, 500)
    await leave(world, alice)
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.total, row.available, row.locked) == (900, 900, 0)
    assert await world.history(alice) == [
        ("deposit", 900, 900),
        ("lock", 500, None),
        ("unlock", 500, None),
    ]


async def test_tokens_deposited_for_yield_return_to_the_unit(world: World) -> None:
    alice = await world.owner(tokens=1_000_000)
    await world.act(alice, world.deposit(alice, 1_000_000))
    await earn(world, alice, 400_000)
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.available, row.yield_deposited, row.total) == (600_000, 400_000, 1_000_000)
    await compound(world, alice, 20_000)
    pool = pool_of(world)
    back = instructions.yield_withdraw(
        world.programs,
        authority=alice.pubkey(),
        owner=alice.pubkey(),
        yield_program=world.programs.yield_pool,
        amount=420_000,
        yield_accounts=yield_accounts(world, alice, pool),
    )
    await world.act(alice, back)
    await world.act(alice, world.withdraw(alice, 1_020_000))
    await assert_books_match(world)
    assert (await row_of(world, alice)).total == await total(world) == 0
    published = await messages(world, "yield_event")
    assert [(data["kind"], data["amount"], data["new_yield_balance"]) for data in published] == [
        ("yield_deposit", 400_000, 400_000),
        ("yield_compound", 20_000, 420_000),
        ("yield_withdraw", 420_000, 0),
    ]


async def test_an_emergency_withdrawal_by_owner_or_governance_is_recorded(world: World) -> None:
    alice, bob = await world.owner(tokens=1_000), await world.owner(tokens=1_000)
    for owner in (alice, bob):
        await world.act(owner, world.deposit(owner, 1_000))
    await lock(world, bob, 900)
    for authority, owner, amount in ((alice, alice, 300), (world.operator, bob, 700)):
        emergency = instructions.emergency_withdraw(
            world.programs, authority=authority.pubkey(), owner=owner.pubkey(), amount=amount
        )
        await world.act(authority, emergency)
    await assert_books_match(world)
    assert (await world.history(alice))[-1] == ("emergency_withdraw", 300, 700)
    assert (await world.history(bob))[-1] == ("emergency_withdraw", 700, 300)
    row = await row_of(world, bob)
    assert (row.available, row.locked, row.total_withdrawn) == (0, 300, 700)
    assert [row.owner for row in await world.outbox("withdraw_event")] == [
        address(alice),
        address(bob),
    ]
    assert await total(world) == 1_000


async def test_timelocked_tokens_are_shown_apart_until_they_are_released(world: World) -> None:
    alice, anybody = await world.owner(tokens=1_000), await world.wallet()
    key = alice.pubkey()
    schedule = instructions.schedule_timelock(
        world.programs, authority=key, owner=key, amount=400, duration_seconds=YEAR
    )
    await world.act(alice, world.deposit(alice, 1_000), schedule)
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.available, row.timelocked, row.total) == (600, 400, 1_000)
    travel(world, YEAR)
    release = instructions.release_timelocks(world.programs, authority=anybody.pubkey(), owner=key)
    await world.act(anybody, release)
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.available, row.timelocked, row.total) == (1_000, 0, 1_000)
    assert [data["kind"] for data in await messages(world, "timelock_event")] == [
        "timelock",
        "timelock_release",
    ]


async def test_a_withdrawal_releases_what_is_due_and_the_row_shows_it(world: World) -> None:
    alice = await world.owner(tokens=1_000)
    key = alice.pubkey()
    schedule = instructions.schedule_timelock(
        world.programs, authority=key, owner=key, amount=400, duration_seconds=60
    )
    await world.act(alice, world.deposit(alice, 1_000), schedule)
    travel(world, 60)
    await world.act(alice, world.withdraw(alice, 900))
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.available, row.timelocked, row.total) == (100, 0, 100)


async def test_policies_requests_and_signers_are_in_the_row(world: World) -> None:
    alice, bob, key = await world.owner(tokens=1_000), Keypair(), Keypair().pubkey()
    owner, programs = alice.pubkey(), world.programs
    signers = [owner, bob.pubkey()]
    await world.act(
        alice,
        world.deposit(alice, 1_000),
        instructions.set_withdraw_rate_limit(
            programs, owner=owner, window_seconds=3_600, max_amount=500
        ),
        instructions.add_withdraw_whitelist(programs, owner=owner, address=key),
        instructions.set_vault_multisig(programs, owner=owner, signers=signers, threshold=2),
        instructions.set_withdraw_min_delay(programs, owner=owner, seconds=60),
        instructions.request_withdraw(programs, owner=owner, amount=100),
    )
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert row.multisig_threshold == 2
    assert row.state["multisig_signers"] == [str(owner), str(bob.pubkey())]
    assert row.state["min_withdraw_delay_seconds"] == 60
    assert [each["amount"] for each in row.state["pending_withdrawals"]] == [100]
    assert (row.state["rate_window_seconds"], row.state["rate_limit_amount"]) == (3_600, 500)
    assert row.state["withdraw_whitelist"] == [str(key)]


async def test_every_event_is_recorded_and_those_that_move_tokens_are_published(
    world: World,
) -> None:
    alice = await every_event(world)
    await assert_books_match(world)

    async with world.database.connection() as conn:
        cursor = await conn.execute(b"SELECT DISTINCT name FROM chain_events")
        names = {name for (name,) in await cursor.fetchall()}
    assert names == {kind.__name__ for kind in get_args(Event)}
    rows = await world.outbox()
    topics = {(row.topic, row.data.get("kind")) for row in rows if row.owner == address(alice)}
    assert topics == {
        ("deposit_event", "deposit"),
        ("withdraw_event", "withdraw"),
        ("withdraw_event", "emergency_withdraw"),
        ("lock_event", "lock"),
        ("unlock_event", "unlock"),
        ("transfer_event", "transfer_in"),
        ("transfer_event", "transfer_out"),
        ("timelock_event", "timelock"),
        ("timelock_event", "timelock_release"),
        ("yield_event", "yield_deposit"),
        ("yield_event", "yield_compound"),
        ("yield_event", "yield_withdraw"),
        ("vault_balance_update", None),
    }
    lines = {line.kind for line in await lines_of(world, alice)}
    assert lines == {kind for _, kind in topics if kind}


# --- queries of the tests ------------------------------------------------------------------------


async def total(world: World) -> int:
    """Apply everything and return the total of all vaults."""
    assert await world.indexer().catch_up()
    async with world.database.connection() as conn:
        return (await vaults.tvl(conn)).total


async def row_of(world: World, owner: Keypair) -> VaultRow:
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    return row


async def lines_of(world: World, owner: Keypair) -> list[HistoryRow]:
    async with world.database.connection() as conn:
        return await history.page(conn, address(owner), limit=100)


async def messages(world: World, topic: str) -> list[dict[str, object]]:
    return [row.data for row in await world.outbox(topic)]
