"""Steps of the demo: a timelock and a requested withdrawal. They move the chain's clock."""

from __future__ import annotations

from cvms.chain.program import instructions
from cvms.chain.program.guard_changes import WithdrawMinDelay
from cvms.demo.context import USDT, DemoContext, DemoStep

HOUR = 60 * 60
DAY = 24 * HOUR


async def schedule_timelock(demo: DemoContext) -> None:
    """Alice timelocks 150 USDT for a day. An early release has no effect."""
    alice = demo.alice.pubkey()
    release = instructions.release_timelocks(demo.programs, authority=alice, owner=alice)
    await demo.send_as_alice(
        instructions.schedule_timelock(
            demo.programs, authority=alice, owner=alice, amount=150 * USDT, duration_seconds=DAY
        ),
        release,
    )
    await demo.see_event("timelock_event", "kind", "timelock")
    await demo.refused_by_program(400 * USDT, "InsufficientFunds")
    await demo.expect_balances(available=350 * USDT, timelocked=150 * USDT)


async def release_timelock(demo: DemoContext) -> None:
    """A day later on the chain's clock, anybody may release the timelock. Here Bob does."""
    await demo.chain.travel(DAY)
    bob = demo.bob.pubkey()
    release = instructions.release_timelocks(
        demo.programs, authority=bob, owner=demo.alice.pubkey()
    )
    slot = await demo.chain.send(release, signers=(demo.bob,))
    await demo.indexed(slot)
    await demo.see_event("timelock_event", "kind", "timelock_release")
    await demo.expect_balances(available=500 * USDT)


async def request_withdrawal(demo: DemoContext) -> None:
    """Alice sets a minimum delay of one hour and requests 100 USDT, which must wait."""
    alice = demo.alice.pubkey()
    await demo.send_as_alice(
        instructions.set_withdraw_min_delay(demo.programs, owner=alice, seconds=HOUR)
    )
    await demo.refused_by_program(100 * USDT, "Unauthorized")
    await demo.send_as_alice(
        instructions.request_withdraw(demo.programs, owner=alice, amount=100 * USDT)
    )
    await demo.refused_by_program(100 * USDT, "Unauthorized")
    await demo.expect_balances(available=500 * USDT)


async def withdraw_after_delay(demo: DemoContext) -> None:
    """An hour later the same withdrawal succeeds."""
    await demo.chain.travel(HOUR)
    await demo.withdraw(100 * USDT)
    await demo.expect_balances(available=400 * USDT)


async def remove_delay(demo: DemoContext) -> None:
    """Alice's key alone cannot remove the delay at once. She announces it, and waits an hour."""
    owner, change = demo.alice.pubkey(), WithdrawMinDelay(seconds=0)
    await demo.send_as_alice(
        instructions.request_guard_change(demo.programs, owner=owner, change=change)
    )
    await demo.chain.travel(HOUR)
    await demo.send_as_alice(
        instructions.apply_guard_change(demo.programs, owner=owner, change=change)
    )


STEPS: tuple[DemoStep, ...] = (
    schedule_timelock,
    release_timelock,
    request_withdrawal,
    withdraw_after_delay,
    remove_delay,
)
