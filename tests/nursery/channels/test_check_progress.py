"""Progress of checks: a kind is overdue after three intervals without a completion."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from cvms.nursery.channels.check_progress import INTERVALS, CheckProgress


async def test_a_check_is_overdue_after_three_intervals_until_it_completes(
    autojump_clock: MockClock,
) -> None:
    checks = CheckProgress()
    checks.expect({"listing": 600, "pass": 60})
    assert checks.failed("listing", "refused")
    assert not checks.failed("listing", "refused")  # the same outage
    for _ in range(INTERVALS):
        await trio.sleep(600)
        checks.completed("pass")
        assert checks.overdue() == {}
    await trio.sleep(1)
    assert checks.overdue() == {"listing": "has not completed for 1801 seconds: refused"}
    assert checks.ages() == {"listing": 1801, "pass": 1}
    checks.completed("listing")
    assert checks.overdue() == {}
    assert checks.statuses()["listing"].ok
    assert checks.failed("listing", "again")


async def test_a_long_check_is_not_overdue_while_it_progresses(autojump_clock: MockClock) -> None:
    checks = CheckProgress()
    checks.expect({"pass": 20})
    for _ in range(10):
        await trio.sleep(50)
        checks.progressed("pass")
        assert checks.overdue() == {}
    assert checks.ages() == {"pass": 500}
    await trio.sleep(61)
    assert checks.overdue() == {"pass": "has not completed for 561 seconds"}


async def test_a_short_interval_leaves_time_to_heal(autojump_clock: MockClock) -> None:
    checks = CheckProgress()
    checks.expect({"pass": 1})
    await trio.sleep(44)
    assert checks.overdue() == {}
    await trio.sleep(2)
    assert set(checks.overdue()) == {"pass"}
    checks.forget()
    assert checks.overdue() == {}
