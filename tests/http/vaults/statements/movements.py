"""What happens to vaults in these tests."""

from __future__ import annotations

import random

from solders.instruction import Instruction
from solders.keypair import Keypair

from cvms.chain.program import instructions
from tests.nursery.world import World, finalize, held_clock


async def settle(world: World) -> None:
    """Apply everything, and mark it as final: also the slots before the last transaction."""
    await world.owner()
    with held_clock(world.chain.chain):
        await world.indexer().catch_up()
        finalize(world)
        await world.indexer().catch_up()
        await world.finalizer().run_once()


def steps(world: World, rng: random.Random, owner: Keypair) -> list[Instruction]:
    """Return one to three movements for which the vault has enough."""
    kinds = [
        lambda amount: world.deposit(owner, amount),
        lambda amount: world.withdraw(owner, amount),
        lambda amount: instructions.schedule_timelock(
            world.programs,
            authority=owner.pubkey(),
            owner=owner.pubkey(),
            amount=amount,
            duration_seconds=60,
        ),
    ]
    return [rng.choice(kinds)(rng.randint(1, 2_000)) for _ in range(rng.randint(1, 3))]


async def transfer(world: World, sender: Keypair, receiver: Keypair, amount: int) -> None:
    move = instructions.rebalance_collateral(
        world.programs,
        authority=world.operator.pubkey(),
        from_owner=sender.pubkey(),
        to_owner=receiver.pubkey(),
        amount=amount,
    )
    await world.act(sender, world.agree(sender))
    await world.act(world.operator, move)


async def seize(world: World, owner: Keypair, amount: int) -> None:
    withdrawal = instructions.emergency_withdraw(
        world.programs, authority=world.operator.pubkey(), owner=owner.pubkey(), amount=amount
    )
    await world.act(world.operator, withdrawal)


def release(world: World, owner: Keypair) -> Instruction:
    key = owner.pubkey()
    return instructions.release_timelocks(world.programs, authority=key, owner=key)
