"""Steps of the demo: collateral is locked while a position is open."""

from __future__ import annotations

from cvms.chain.program import instructions
from cvms.demo.context import USDT, DemoContext, DemoStep


async def lock(demo: DemoContext) -> None:
    """Alice opens a position, and the position manager locks 500 USDT in her vault."""
    alice = demo.alice.pubkey()
    await demo.send_as_alice(
        instructions.init_position_summary(demo.programs, payer=alice, owner=alice),
        instructions.open_position(demo.programs, authority=alice, owner=alice, amount=500 * USDT),
    )
    await demo.see_event("lock_event", "amount", 500 * USDT)
    await demo.expect_balances(available=100 * USDT, locked=500 * USDT)


async def withdraw_while_locked(demo: DemoContext) -> None:
    """While the position is open, withdrawals are refused, even of available tokens."""
    await demo.refused_by_program(50 * USDT, "OpenPositionsExist")
    await demo.expect_balances(available=100 * USDT, locked=500 * USDT)


async def unlock(demo: DemoContext) -> None:
    """Alice closes the position, which unlocks 500 USDT, and withdraws 100 of them."""
    alice = demo.alice.pubkey()
    await demo.send_as_alice(
        instructions.close_position(demo.programs, authority=alice, owner=alice, amount=500 * USDT)
    )
    await demo.see_event("unlock_event", "amount", 500 * USDT)
    await demo.expect_balances(available=600 * USDT)
    await demo.withdraw(100 * USDT)
    await demo.see_event("withdraw_event", "amount", 100 * USDT)
    await demo.expect_balances(available=500 * USDT)


STEPS: tuple[DemoStep, ...] = (lock, withdraw_while_locked, unlock)
