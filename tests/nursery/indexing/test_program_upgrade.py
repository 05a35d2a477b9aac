"""The books stay the chain's while the programs are upgraded under a running service."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountWithSeedParams, create_account_with_seed

from cvms.chain.program import upgradeable_loader as loader
from cvms.localnet.ledger.program_deployment import deploy, deployed_code
from tests.nursery.program_steps import lock, rebalance, unlock
from tests.nursery.world import World, assert_books_match
from tests.paths import PROGRAMS
from tests.program.deployment.exchange import FIRST
from tests.program.harness.ledger import UPGRADEABLE_LOADER
from tests.program.harness.loader import CHUNK


@pytest.fixture
def ids(world: World) -> dict[str, Pubkey]:
    """The programs, of which the operator can upgrade the first release."""
    programs = world.programs
    ids = {"collateral_vault": programs.vault, "position_manager": programs.position_manager}
    for name, program in ids.items():
        elf = (FIRST / f"{name}.so").read_bytes()
        deploy(world.chain.chain, program, elf, authority=world.operator.pubkey())
    return ids


async def upgrade(world: World, program: Pubkey, elf: bytes) -> None:
    """Upgrade a program as `solana program deploy` does: buffer, writes, extension, upgrade."""
    operator, seed = world.operator.pubkey(), str(program)[:32]
    buffer = Pubkey.create_with_seed(operator, seed, UPGRADEABLE_LOADER)
    length = loader.BUFFER_HEADER + len(elf)
    create = create_account_with_seed(
        CreateAccountWithSeedParams(
            from_pubkey=operator,
            to_pubkey=buffer,
            base=operator,
            seed=seed,
            lamports=world.chain.chain.vm.rent_exempt(length),
            space=length,
            owner=UPGRADEABLE_LOADER,
        )
    )
    initialize = loader.initialize_buffer(buffer, authority=operator)
    await world.act(world.operator, create, initialize)
    *writes, last = [
        loader.write_buffer(buffer, authority=operator, offset=at, code=elf[at : at + CHUNK])
        for at in range(0, len(elf), CHUNK)
    ]
    for write in writes:
        await world.act(world.operator, write, wait=False)
    await world.act(world.operator, last)
    growth = len(elf) - len(deployed_code(world.chain.chain, program))
    if growth > 0:
        growth = max(growth, loader.LEAST_EXTENSION)
        extend = loader.extend(program, payer=operator, growth=growth)
        await world.act(world.operator, extend)
    replace = loader.upgrade(program, buffer=buffer, authority=operator, refund=operator)
    await world.act(world.operator, replace)


async def test_the_books_match_before_and_after_an_upgrade(
    world: World, ids: dict[str, Pubkey]
) -> None:
    owner = await world.owner(tokens=1_000)
    await world.act(owner, world.deposit(owner, 700), world.withdraw(owner, 50))
    await lock(world, owner, 200)
    await assert_books_match(world)
    for name, program in ids.items():
        elf = (PROGRAMS / f"{name}.so").read_bytes()
        await upgrade(world, program, elf)
        assert deployed_code(world.chain.chain, program).rstrip(b"\0") == elf.rstrip(b"\0")
    await world.act(owner, world.deposit(owner, 300))
    await world.act(owner, unlock(world, owner, 200), world.withdraw(owner, 900))
    await assert_books_match(world)
    assert [(kind, amount) for kind, amount, _ in await world.history(owner)] == [
        ("deposit", 700),
        ("withdraw", 50),
        ("lock", 200),
        ("deposit", 300),
        ("unlock", 200),
        ("withdraw", 900),
    ]


async def test_a_transfer_takes_from_where_the_program_of_its_time_took_it(
    world: World, ids: dict[str, Pubkey]
) -> None:
    alice, bob = await world.owner(tokens=1_000), await world.owner(tokens=1_000)
    await world.act(alice, world.deposit(alice, 700))
    await lock(world, alice, 200)
    await rebalance(world, alice, bob, 100)
    await assert_books_match(world)
    for name, program in ids.items():
        await upgrade(world, program, (PROGRAMS / f"{name}.so").read_bytes())
    await rebalance(world, alice, bob, 50)
    await assert_books_match(world)
    assert await world.history(alice) == [
        ("deposit", 700, 700),
        ("lock", 200, None),
        ("transfer_out", 100, 600),
        ("unlock", 50, None),
        ("transfer_out", 50, 550),
    ]
