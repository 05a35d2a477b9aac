"""Tokens that earn: into the operator's yield pool, a year of interest, and back."""

from __future__ import annotations

from solders.instruction import AccountMeta
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address
from cvms.demo.chain_client import expect
from cvms.demo.context import USDT, DemoContext, DemoStep

YEAR = 365 * 24 * 60 * 60


async def deposit_into_pool(stage: DemoContext) -> None:
    """200 USDT leave the vault for the yield pool, by a call of the vault program."""
    alice, pool = stage.alice.pubkey(), await _pool(stage)
    vault = instructions.vault_address(stage.programs, alice)
    before = await stage.chain.token_amount(str(pool))
    await stage.send_as_alice(
        yield_pool.open_position(stage.programs, payer=alice, owner=vault, pool=pool),
        instructions.yield_deposit(
            stage.programs,
            authority=alice,
            owner=alice,
            yield_program=stage.programs.yield_pool,
            amount=200 * USDT,
            yield_accounts=_accounts(stage, pool),
        ),
    )
    held = await stage.chain.token_amount(str(pool))
    expect("tokens that the pool gained", held - before, 200 * USDT)
    await stage.see_event("yield_event", "kind", "yield_deposit")
    await stage.expect_balances(available=150 * USDT, earning=200 * USDT)


async def compound(stage: DemoContext) -> None:
    """A year at 5 percent has earned 10 USDT, which are compounded: only they add to the total."""
    await stage.chain.travel(YEAR)
    alice, pool = stage.alice.pubkey(), await _pool(stage)
    await stage.send_as_alice(
        instructions.compound_yield(
            stage.programs,
            authority=alice,
            owner=alice,
            yield_program=stage.programs.yield_pool,
            compounded_amount=10 * USDT,
            yield_accounts=_accounts(stage, pool),
        )
    )
    await stage.see_event("yield_event", "kind", "yield_compound")
    await stage.expect_balances(available=150 * USDT, earning=210 * USDT)


async def withdraw_from_pool(stage: DemoContext) -> None:
    """Principal and interest return to the vault; what all vaults hold is what the chain says."""
    alice, pool = stage.alice.pubkey(), await _pool(stage)
    await stage.send_as_alice(
        instructions.yield_withdraw(
            stage.programs,
            authority=alice,
            owner=alice,
            yield_program=stage.programs.yield_pool,
            amount=210 * USDT,
            yield_accounts=_accounts(stage, pool),
        )
    )
    await stage.see_event("yield_event", "kind", "yield_withdraw")
    await stage.expect_balances(available=360 * USDT)
    metrics = await stage.metrics()
    total = await stage.chain.chain_total()
    expect("total_value_locked", metrics["total_value_locked"], total)
    stage.say(f"  total_value_locked {total / USDT:,.6f} USDT, as on the chain")
    await stage.alice_client.request("GET", "/ready")
    stage.say("  the service is ready, more than a year ahead of its own clock")


async def _pool(stage: DemoContext) -> Pubkey:
    mint, operator = stage.programs.mint, await stage.operator()
    return pool_address(stage.programs, mint=mint, admin=operator)


def _accounts(stage: DemoContext, pool: Pubkey) -> list[AccountMeta]:
    vault = instructions.vault_address(stage.programs, stage.alice.pubkey())
    return yield_pool.vault_yield_accounts(
        stage.programs, vault=vault, pool=pool, mint=stage.programs.mint
    )


STEPS: tuple[DemoStep, ...] = (deposit_into_pool, compound, withdraw_from_pool)
