"""Collateral that backs a position stays until the position is closed."""

from __future__ import annotations

from cvms.chain.program import instructions
from cvms.demo.context import USDT, DemoContext, DemoStep


async def lock(stage: DemoContext) -> None:
    """Alice opens a position of 500 USDT: the position manager locks them in her vault."""
    alice = stage.alice.pubkey()
    await stage.send_as_alice(
        instructions.init_position_summary(stage.programs, payer=alice, owner=alice),
        instructions.open_position(stage.programs, authority=alice, owner=alice, amount=500 * USDT),
    )
    await stage.see_event("lock_event", "amount", 500 * USDT)
    await stage.expect_balances(available=100 * USDT, locked=500 * USDT)


async def withdraw_while_locked(stage: DemoContext) -> None:
    """Nothing leaves while a position is open, not even what is available: refused at once."""
    await stage.refused_by_program(50 * USDT, "OpenPositionsExist")
    await stage.expect_balances(available=100 * USDT, locked=500 * USDT)


async def unlock(stage: DemoContext) -> None:
    """The position is closed: 500 USDT are available again, and 100 of them are withdrawn."""
    alice = stage.alice.pubkey()
    await stage.send_as_alice(
        instructions.close_position(stage.programs, authority=alice, owner=alice, amount=500 * USDT)
    )
    await stage.see_event("unlock_event", "amount", 500 * USDT)
    await stage.expect_balances(available=600 * USDT)
    await stage.withdraw(100 * USDT)
    await stage.see_event("withdraw_event", "amount", 100 * USDT)
    await stage.expect_balances(available=500 * USDT)


STEPS: tuple[DemoStep, ...] = (lock, withdraw_while_locked, unlock)
