"""What tests do with the programs, up to using every instruction."""

from __future__ import annotations

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import transfer
from spl.token.models import TransferParams

from cvms.chain.program import instructions
from cvms.chain.program.accounts import VALID_SECONDS, Vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.program.guard_changes import WithdrawMinDelay
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address
from cvms.chain.transactions.vault_builders import fetch_vault
from tests.nursery.world import World

HOUR = 60 * 60
YEAR = 365 * 24 * HOUR


async def every_event(world: World) -> Keypair:
    """Have the program log each of its events; return the owner of most of them."""
    alice, bob = await world.owner(tokens=1_000_000), await world.owner(tokens=1_000)
    programs, owner = world.programs, alice.pubkey()
    await govern(world, bob)
    await world.act(
        alice,
        world.deposit(alice, 1_000_000),
        world.withdraw(alice, 100),
        instructions.emergency_withdraw(programs, authority=owner, owner=owner, amount=100),
        instructions.schedule_timelock(
            programs, authority=owner, owner=owner, amount=5, duration_seconds=60
        ),
        world.agree(alice),
    )
    await world.act(bob, world.agree(bob))
    await lock(world, alice, 600)
    await world.act(alice, unlock(world, alice, 600))
    await world.act(
        alice, instructions.open_position(programs, authority=owner, owner=owner, amount=500)
    )
    for giver, taker in ((alice, bob), (bob, alice)):
        await rebalance(world, giver, taker, 7, settles=giver is alice, limited=True)
    await guard(world, alice)
    await leave(world, alice)
    await earn(world, alice, 200_000)
    await compound(world, alice, 10_000)
    back = instructions.yield_withdraw(
        programs,
        authority=owner,
        owner=owner,
        yield_program=programs.yield_pool,
        amount=1,
        yield_accounts=yield_accounts(world, alice, pool_of(world)),
    )
    release = instructions.release_timelocks(programs, authority=owner, owner=owner)
    await world.act(alice, back, release)
    await world.act(bob, instructions.close_vault(programs, bob.pubkey()))
    return alice


async def govern(world: World, owner: Keypair) -> None:
    """Use each instruction of governance but those that move tokens."""
    programs, governance = world.programs, world.operator.pubkey()
    other, of_governance = Pubkey.new_unique(), {"governance": governance}
    await world.act(
        world.operator,
        instructions.add_authorized_program(programs, **of_governance, program=other),
        instructions.remove_authorized_program(programs, **of_governance, program=other),
        instructions.add_yield_program(programs, **of_governance, program=other),
        instructions.remove_yield_program(programs, **of_governance, program=other),
        instructions.set_freeze_flag(programs, governance=governance, freeze=True),
        instructions.set_freeze_flag(programs, governance=governance, freeze=False),
        instructions.set_cpi_enforced(programs, governance=governance, cpi_enforced=True),
        instructions.set_risk_level(programs, governance=governance, risk_level=1),
    )
    await world.act(
        world.operator,
        instructions.update_usdt_mint(
            programs, governance=governance, owner=owner.pubkey(), new_mint=programs.mint
        ),
        instructions.propose_governance(programs, authority=governance, proposed=governance),
        instructions.accept_governance(programs, new_governance=governance),
        instructions.pause_withdrawals(programs, governance=governance, seconds=60),
        instructions.pause_withdrawals(programs, governance=governance, seconds=0),
        instructions.set_transfer_limits(
            programs, governance=governance, vault_daily=1_000, total_daily=1_000
        ),
    )


async def guard(world: World, owner: Keypair) -> None:
    """Use each instruction about signers and guards, and leave no guard in force."""
    key, programs, other = owner.pubkey(), world.programs, Pubkey.new_unique()
    await world.act(
        owner,
        instructions.add_delegate(programs, owner=key, delegate=other),
        instructions.remove_delegate(programs, owner=key, delegate=other),
        instructions.set_vault_multisig(programs, owner=key, signers=[key], threshold=1),
        instructions.disable_vault_multisig(programs, owner=key),
        instructions.schedule_timelock(
            programs, authority=key, owner=key, amount=6, duration_seconds=HOUR
        ),
    )
    entry = (await account_of(world, owner)).timelocks[-1]
    await world.act(
        owner,
        instructions.cancel_timelock(
            programs, owner=key, amount=entry.amount, unlock_time=entry.unlock_time
        ),
        instructions.add_withdraw_whitelist(programs, owner=key, address=other),
        instructions.set_withdraw_rate_limit(
            programs, owner=key, window_seconds=60, max_amount=500
        ),
        instructions.set_withdraw_min_delay(programs, owner=key, seconds=60),
        instructions.request_withdraw(programs, owner=key, amount=100),
    )
    [request] = (await account_of(world, owner)).pending_withdrawals
    change = WithdrawMinDelay(0)
    ask = instructions.request_guard_change(programs, owner=key, change=change)
    travel(world, 1)
    await world.act(
        owner,
        instructions.cancel_withdraw_request(
            programs, owner=key, amount=100, executable_at=request.executable_at
        ),
        ask,
        instructions.cancel_guard_change(programs, authority=key, owner=key, change=change),
        ask,
    )
    travel(world, 60)
    await world.act(owner, instructions.apply_guard_change(programs, owner=key, change=change))


async def leave(world: World, owner: Keypair) -> None:
    """Exit from what a removed program has locked, settle its summary, and sweep stray tokens."""
    key, programs, manager = owner.pubkey(), world.programs, world.programs.position_manager
    governance, wallet = world.operator.pubkey(), token_account(key, programs.mint)
    tokens = token_account(vault_address(programs, key), programs.mint)
    await world.act(owner, instructions.request_exit(programs, owner=key))
    travel(world, VALID_SECONDS)
    await world.act(
        world.operator,
        instructions.remove_authorized_program(programs, governance=governance, program=manager),
    )
    await world.act(
        owner, instructions.release_unclaimed(programs, owner=key, position_summaries=[])
    )
    await world.act(
        world.operator,
        instructions.settle_position_summary(programs, owner=key),
        instructions.add_authorized_program(programs, governance=governance, program=manager),
    )
    await world.act(
        owner,
        transfer(
            TransferParams(
                program_id=TOKEN_PROGRAM_ID, source=wallet, dest=tokens, owner=key, amount=3
            )
        ),
        instructions.sweep(
            programs, owner=key, token_account=tokens, recipient_token_account=wallet
        ),
    )


async def rebalance(
    world: World, giver: Keypair, taker: Keypair, amount: int, **more: bool
) -> None:
    step = instructions.rebalance_collateral(
        world.programs,
        authority=world.operator.pubkey(),
        from_owner=giver.pubkey(),
        to_owner=taker.pubkey(),
        amount=amount,
        **more,
    )
    await world.act(world.operator, step)


async def account_of(world: World, owner: Keypair) -> Vault:
    return await fetch_vault(world.rpc, world.programs, owner.pubkey())


async def lock(world: World, owner: Keypair, amount: int) -> None:
    key = owner.pubkey()
    await world.act(
        owner,
        instructions.init_position_summary(world.programs, payer=key, owner=key),
        instructions.open_position(world.programs, authority=key, owner=key, amount=amount),
    )


def unlock(world: World, owner: Keypair, amount: int) -> Instruction:
    key = owner.pubkey()
    return instructions.close_position(world.programs, authority=key, owner=key, amount=amount)


def travel(world: World, seconds: int) -> None:
    chain = world.chain.chain
    chain.move_time(chain.time.now() + seconds)


def pool_of(world: World) -> Pubkey:
    return pool_address(world.programs, mint=world.programs.mint, admin=world.operator.pubkey())


def yield_accounts(world: World, owner: Keypair, pool: Pubkey) -> list[AccountMeta]:
    vault = vault_address(world.programs, owner.pubkey())
    return yield_pool.vault_yield_accounts(
        world.programs, vault=vault, pool=pool, mint=world.programs.mint
    )


async def earn(world: World, owner: Keypair, amount: int) -> None:
    """Deposit tokens into the yield pool."""
    key, pool = owner.pubkey(), pool_of(world)
    vault = vault_address(world.programs, key)
    await world.act(
        owner,
        yield_pool.open_position(world.programs, payer=key, owner=vault, pool=pool),
        instructions.yield_deposit(
            world.programs,
            authority=key,
            owner=key,
            yield_program=world.programs.yield_pool,
            amount=amount,
            yield_accounts=yield_accounts(world, owner, pool),
        ),
    )


async def compound(world: World, owner: Keypair, amount: int) -> None:
    """Let a year pass, and compound `amount` of the interest."""
    travel(world, YEAR)
    key = owner.pubkey()
    await world.act(
        owner,
        instructions.compound_yield(
            world.programs,
            authority=key,
            owner=key,
            yield_program=world.programs.yield_pool,
            compounded_amount=amount,
            yield_accounts=yield_accounts(world, owner, pool_of(world)),
        ),
    )
