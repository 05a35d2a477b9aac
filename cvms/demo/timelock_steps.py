"""Tokens that wait: a timelock, and a withdrawal that is asked for first. The clock is moved."""

from __future__ import annotations

from cvms.chain.program import instructions
from cvms.demo.context import USDT, DemoContext, DemoStep

HOUR = 60 * 60
DAY = 24 * HOUR


async def schedule_timelock(stage: DemoContext) -> None:
    """Alice puts 150 USDT out of her own reach for a day; released too early, nothing happens."""
    alice = stage.alice.pubkey()
    release = instructions.release_timelocks(stage.programs, authority=alice, owner=alice)
    await stage.send_as_alice(
        instructions.schedule_timelock(
            stage.programs, authority=alice, owner=alice, amount=150 * USDT, duration_seconds=DAY
        ),
        release,
    )
    await stage.see_event("timelock_event", "kind", "timelock")
    await stage.refused_by_program(400 * USDT, "InsufficientFunds")
    await stage.expect_balances(available=350 * USDT, timelocked=150 * USDT)


async def release_timelock(stage: DemoContext) -> None:
    """A day later on the chain's clock anybody may release them: here Bob does."""
    await stage.chain.travel(DAY)
    bob = stage.bob.pubkey()
    release = instructions.release_timelocks(
        stage.programs, authority=bob, owner=stage.alice.pubkey()
    )
    slot = await stage.chain.send(release, signers=(stage.bob,))
    await stage.indexed(slot)
    await stage.see_event("timelock_event", "kind", "timelock_release")
    await stage.expect_balances(available=500 * USDT)


async def request_withdrawal(stage: DemoContext) -> None:
    """Alice makes withdrawals wait for an hour and asks for 100 USDT: too early to have them."""
    alice = stage.alice.pubkey()
    await stage.send_as_alice(
        instructions.set_withdraw_min_delay(stage.programs, owner=alice, seconds=HOUR)
    )
    await stage.refused_by_program(100 * USDT, "Unauthorized")
    await stage.send_as_alice(
        instructions.request_withdraw(stage.programs, owner=alice, amount=100 * USDT)
    )
    await stage.refused_by_program(100 * USDT, "Unauthorized")
    await stage.expect_balances(available=500 * USDT)


async def withdraw_after_delay(stage: DemoContext) -> None:
    """An hour later the same withdrawal goes through; then Alice lifts the delay."""
    await stage.chain.travel(HOUR)
    await stage.withdraw(100 * USDT)
    await stage.expect_balances(available=400 * USDT)
    alice = stage.alice.pubkey()
    await stage.send_as_alice(
        instructions.set_withdraw_min_delay(stage.programs, owner=alice, seconds=0)
    )


STEPS: tuple[DemoStep, ...] = (
    schedule_timelock,
    release_timelock,
    request_withdrawal,
    withdraw_after_delay,
)
