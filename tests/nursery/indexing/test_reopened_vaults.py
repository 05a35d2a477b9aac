"""Vaults that are closed, opened again, or given another mint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import position_summary_address, token_account, vault_address
from cvms.chain.types import Programs
from cvms.dev.chain_setup import make_mint
from cvms.store.analytics import event_counters
from cvms.store.reconciliation import reconciliation_log, vault_ledger
from cvms.store.vaults import vaults
from cvms.store.vaults.vaults import Tvl, VaultRow
from tests.nursery.world import World, address, assert_books_match, full_pass_resolved

BATCHES = pytest.mark.parametrize("batch_size", [1, 2, 100])
U64_MAX = 2**64 - 1


@BATCHES
async def test_a_reopened_vault_reconciles(world: World, batch_size: int) -> None:
    alice = await world.owner(tokens=1_000)
    for amount in (1_000, 300, 200):
        await world.act(alice, world.deposit(alice, amount))
        await world.act(alice, world.withdraw(alice, amount), close(world, alice))
        await world.act(alice, instructions.initialize_vault(world.programs, alice.pubkey()))
    await world.act(alice, world.deposit(alice, 50))
    await world.indexer(batch_size=batch_size).catch_up()
    await assert_books_match(world)
    assert (await world.history(alice))[-3:] == [
        ("deposit", 200, 200),
        ("withdraw", 200, 0),
        ("deposit", 50, 50),
    ]
    row = await row_of(world, alice)
    assert (row.total, row.total_deposited, row.total_withdrawn) == (50, 50, 0)


@BATCHES
async def test_a_vault_opened_and_closed_in_one_transaction_reconciles(
    world: World, batch_size: int
) -> None:
    alice = await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 400))
    initialize = instructions.initialize_vault(world.programs, alice.pubkey())
    await world.act(
        alice,
        world.withdraw(alice, 400),
        close(world, alice),
        initialize,
        world.deposit(alice, 70),
        world.withdraw(alice, 70),
        close(world, alice),
        initialize,
        world.deposit(alice, 30),
    )
    await world.indexer(batch_size=batch_size).catch_up()
    await assert_books_match(world)
    assert await world.history(alice) == [
        ("deposit", 400, 400),
        ("withdraw", 400, 0),
        ("deposit", 70, 70),
        ("withdraw", 70, 0),
        ("deposit", 30, 30),
    ]


async def test_a_closed_vault_has_no_balance_and_is_not_counted(world: World) -> None:
    alice = await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 400))
    await world.act(alice, world.withdraw(alice, 400), close(world, alice))
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.total, row.state) == (0, {"closed": True})
    async with world.database.connection() as conn:
        sums = (await vault_ledger.read(conn, [address(alice)]))[address(alice)].sums
        assert (sums.deposited, sums.withdrawn) == (0, 0)
        assert await vaults.tvl(conn) == Tvl(total=0, vaults=0, slot=row.slot)
    await world.act(alice, instructions.initialize_vault(world.programs, alice.pubkey()))
    await assert_books_match(world)
    async with world.database.connection() as conn:
        assert (await vaults.tvl(conn)).vaults == 1


@pytest.mark.parametrize("account", ["closed", "present"])
async def test_a_missing_line_of_any_account_of_the_vault_is_found(
    world: World, account: str
) -> None:
    alice = await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 400))
    await world.act(alice, world.withdraw(alice, 400), close(world, alice))
    await world.act(
        alice,
        instructions.initialize_vault(world.programs, alice.pubkey()),
        world.deposit(alice, 30),
    )
    await assert_books_match(world)
    lost = {"closed": 400, "present": 30}[account]
    await world.execute("DELETE FROM transactions WHERE kind = 'deposit' AND amount = %s", lost)
    assert await healed_deposits(world) == [("history_deposited", 30, 30 - lost)]


async def test_a_missing_line_of_a_closed_vault_is_found(world: World) -> None:
    alice = await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 400))
    await world.act(alice, world.withdraw(alice, 400), close(world, alice))
    await assert_books_match(world)
    await world.execute("DELETE FROM transactions WHERE kind = 'deposit'")
    assert await healed_deposits(world) == [("history_deposited", 0, -400)]


async def test_applying_everything_again_changes_no_offset(world: World) -> None:
    alice = await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 400))
    await world.act(alice, world.withdraw(alice, 400), close(world, alice))
    await world.act(alice, instructions.initialize_vault(world.programs, alice.pubkey()))
    await world.act(alice, world.deposit(alice, 30))
    await world.indexer().catch_up()
    await world.execute("DELETE FROM indexer_cursor")
    await assert_books_match(world)


@BATCHES
async def test_a_vault_of_another_mint_is_not_counted_until_it_is_ours_again(
    world: World, batch_size: int
) -> None:
    alice = await world.owner(tokens=1_000)
    other = await other_mint(world, alice)
    await world.act(alice, world.deposit(alice, 600))
    await world.act(alice, world.withdraw(alice, 600))
    await change_mint(world, alice, other.mint)
    await world.act(alice, deposit(other, alice, 700))
    indexer = world.indexer(batch_size=batch_size)
    await indexer.catch_up()
    await assert_books_match(world)
    row = await row_of(world, alice)
    assert (row.total, row.mint) == (0, str(other.mint))
    async with world.database.connection() as conn:
        assert (await vaults.tvl(conn)).total == 0

    await world.act(alice, withdraw(other, alice, 700))
    await change_mint(world, alice, world.programs.mint)
    await world.act(alice, world.deposit(alice, 50))
    await indexer.catch_up()
    await assert_books_match(world)
    assert await world.history(alice) == [
        ("deposit", 600, 600),
        ("withdraw", 600, 0),
        ("deposit", 50, 50),
    ]
    row = await row_of(world, alice)
    assert (row.total, row.total_deposited, row.mint) == (50, 1_350, str(world.programs.mint))
    async with world.database.connection() as conn:
        assert await event_counters.read(conn) == {"deposit": (2, 650), "withdraw": (1, 600)}
    await world.execute("DELETE FROM transactions WHERE amount = 50")
    assert await healed_deposits(world) == [("history_deposited", 1_350, 1_300)]


@BATCHES
async def test_worthless_tokens_of_a_vault_that_becomes_ours_are_never_counted(
    world: World, batch_size: int
) -> None:
    forger = await world.wallet(tokens=1_000)
    worthless = await other_mint(world, forger, amount=U64_MAX)
    await world.act(forger, instructions.initialize_vault(worthless, forger.pubkey()))
    await world.act(forger, deposit(worthless, forger, U64_MAX))
    await world.act(forger, withdraw(worthless, forger, U64_MAX))
    await change_mint(world, forger, world.programs.mint)
    await world.act(forger, close(world, forger))
    await world.act(forger, instructions.initialize_vault(worthless, forger.pubkey()))
    # More than a column holds: counting it would stop the indexer for good.
    await world.act(forger, deposit(worthless, forger, U64_MAX - 40))
    await world.act(forger, withdraw(worthless, forger, U64_MAX - 40))
    await change_mint(world, forger, world.programs.mint)
    await world.act(forger, world.deposit(forger, 40))
    assert await world.indexer(batch_size=batch_size).catch_up()
    await assert_books_match(world)
    assert await world.history(forger) == [("deposit", 40, 40)]
    row = await row_of(world, forger)
    assert (row.total, row.total_deposited) == (40, 2**63 - 1)
    async with world.database.connection() as conn:
        assert await event_counters.read(conn) == {"deposit": (1, 40)}
    await world.execute("DELETE FROM transactions")
    assert await healed_deposits(world) == [("history_deposited", 2**63 - 1, 2**63 - 1)]


@BATCHES
async def test_a_vault_that_became_ours_and_was_closed_between_two_runs_keeps_its_history(
    world: World, batch_size: int
) -> None:
    alice = await world.wallet(tokens=1_000)
    other = await other_mint(world, alice)
    await world.act(alice, instructions.initialize_vault(other, alice.pubkey()))
    await world.indexer(batch_size=batch_size).catch_up()
    await change_mint(world, alice, world.programs.mint)
    await world.act(alice, world.deposit(alice, 90))
    await world.act(alice, world.withdraw(alice, 90), close(world, alice))
    await world.indexer(batch_size=batch_size).catch_up()
    await assert_books_match(world)
    assert await world.history(alice) == [("deposit", 90, 90), ("withdraw", 90, 0)]


@BATCHES
async def test_a_vault_reopened_with_a_worthless_token_keeps_its_history(
    world: World, batch_size: int
) -> None:
    alice = await world.owner(tokens=1_000)
    other = await other_mint(world, alice)
    await world.act(alice, world.deposit(alice, 90))
    await world.act(
        alice,
        world.withdraw(alice, 90),
        close(world, alice),
        instructions.initialize_vault(other, alice.pubkey()),
        deposit(other, alice, 700),
    )
    await world.indexer(batch_size=batch_size).catch_up()
    await assert_books_match(world)
    assert await world.history(alice) == [("deposit", 90, 90), ("withdraw", 90, 0)]
    async with world.database.connection() as conn:
        assert (await vaults.tvl(conn)).total == 0


# --- actions and queries of the tests -----------------------------------------------------------


def close(world: World, owner: Keypair) -> Instruction:
    return instructions.close_vault(world.programs, owner.pubkey())


def deposit(programs: Programs, owner: Keypair, amount: int) -> Instruction:
    key = owner.pubkey()
    return instructions.deposit(programs, authority=key, owner=key, amount=amount)


def withdraw(programs: Programs, owner: Keypair, amount: int) -> Instruction:
    key = owner.pubkey()
    vault = vault_address(programs, key)
    return instructions.withdraw(
        programs,
        authority=key,
        owner=key,
        recipient_token_account=token_account(key, programs.mint),
        position_summaries=[position_summary_address(programs.position_manager, vault)],
        amount=amount,
    )


async def other_mint(world: World, owner: Keypair, amount: int = 1_000) -> Programs:
    """Return the programs with a mint that is not ours, of which the owner has `amount`."""
    other = replace(world.programs, mint=Pubkey.new_unique())
    await make_mint(world.rpc, other.mint, authority=owner.pubkey())
    params = [address(owner), str(other.mint), {"amount": amount}]
    await world.rpc.call("surfnet_setTokenAccount", params)
    return other


async def change_mint(world: World, owner: Keypair, mint: Pubkey) -> None:
    change = instructions.update_usdt_mint(
        world.programs,
        governance=world.operator.pubkey(),
        owner=owner.pubkey(),
        new_mint=mint,
    )
    await world.act(world.operator, change)


async def row_of(world: World, owner: Keypair) -> VaultRow:
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    return row


async def healed_deposits(world: World) -> list[tuple[str, int | None, int | None]]:
    """Return the differences of `history_deposited` that the reconciler finds and heals."""
    reconciler = world.reconciler()
    await full_pass_resolved(world, reconciler)
    async with world.database.connection() as conn:
        entries = await reconciliation_log.recent(conn)
    assert all(each.healed for each in entries)
    assert not reconciler._pending
    await full_pass_resolved(world, reconciler)
    assert await world.recorded_differences() == len(entries)
    return [
        (each.field, each.expected, each.actual)
        for each in entries
        if each.field == "history_deposited"
    ]
