"""Steps of the demo: a deposit into the operator's yield pool, a year of interest, and back."""

from __future__ import annotations

from solders.instruction import AccountMeta
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import vault_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address
from cvms.demo.chain_client import expect
from cvms.demo.context import USDT, DemoContext, DemoStep

YEAR = 365 * 24 * 60 * 60


async def deposit_into_pool(demo: DemoContext) -> None:
    """Alice deposits 200 USDT of her vault into the yield pool."""
    alice, pool = demo.alice.pubkey(), await _pool(demo)
    vault = vault_address(demo.programs, alice)
    before = await demo.chain.token_amount(str(pool))
    await demo.send_as_alice(
        yield_pool.open_position(demo.programs, payer=alice, owner=vault, pool=pool),
        instructions.yield_deposit(
            demo.programs,
            authority=alice,
            owner=alice,
            yield_program=demo.programs.yield_pool,
            amount=200 * USDT,
            yield_accounts=_accounts(demo, pool),
        ),
    )
    after = await demo.chain.token_amount(str(pool))
    expect("tokens that the pool gained", after - before, 200 * USDT)
    await demo.see_event("yield_event", "kind", "yield_deposit")
    await demo.expect_balances(available=150 * USDT, earning=200 * USDT)


async def compound(demo: DemoContext) -> None:
    """A year later, 10 USDT of interest (5 percent) are compounded, and increase the balance."""
    await demo.chain.travel(YEAR)
    alice, pool = demo.alice.pubkey(), await _pool(demo)
    await demo.send_as_alice(
        instructions.compound_yield(
            demo.programs,
            authority=alice,
            owner=alice,
            yield_program=demo.programs.yield_pool,
            compounded_amount=10 * USDT,
            yield_accounts=_accounts(demo, pool),
        )
    )
    await demo.see_event("yield_event", "kind", "yield_compound")
    await demo.expect_balances(available=150 * USDT, earning=210 * USDT)


async def withdraw_from_pool(demo: DemoContext) -> None:
    """Principal and interest return to the vault. The total of all vaults matches the chain."""
    alice, pool = demo.alice.pubkey(), await _pool(demo)
    await demo.send_as_alice(
        instructions.yield_withdraw(
            demo.programs,
            authority=alice,
            owner=alice,
            yield_program=demo.programs.yield_pool,
            amount=210 * USDT,
            yield_accounts=_accounts(demo, pool),
        )
    )
    await demo.see_event("yield_event", "kind", "yield_withdraw")
    await demo.expect_balances(available=360 * USDT)
    metrics = await demo.metrics()
    total = await demo.chain.chain_total()
    expect("total_value_locked", metrics["total_value_locked"], total)
    demo.say(f"  total_value_locked {total / USDT:,.6f} USDT, as on the chain")
    await demo.alice_client.request("GET", "/ready")
    demo.say("  the service is ready, although the chain's clock is a year ahead")


async def _pool(demo: DemoContext) -> Pubkey:
    mint, operator = demo.programs.mint, await demo.operator()
    return pool_address(demo.programs, mint=mint, admin=operator)


def _accounts(demo: DemoContext, pool: Pubkey) -> list[AccountMeta]:
    vault = vault_address(demo.programs, demo.alice.pubkey())
    return yield_pool.vault_yield_accounts(
        demo.programs, vault=vault, pool=pool, mint=demo.programs.mint
    )


STEPS: tuple[DemoStep, ...] = (deposit_into_pool, compound, withdraw_from_pool)
