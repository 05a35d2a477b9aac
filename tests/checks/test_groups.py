"""Groups run at the same time, in the order of what they need, and each ends in time."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
import trio.testing

from cvms.checks.finding import Finding, Level, ok
from cvms.checks.groups import Group, run_groups
from cvms.errors import ChainUnavailable


async def test_groups_run_at_once_and_after_those_that_they_need(
    autojump_clock: trio.testing.MockClock,
) -> None:
    begun: list[tuple[str, float]] = []

    def group(name: str, *after: str) -> Group:
        async def run() -> Sequence[Finding]:
            begun.append((name, trio.current_time() - start))
            await trio.sleep(5)
            return [ok(name, "fine")]

        return Group(name=name, run=run, after=after)

    start = trio.current_time()
    groups = [group("c", "a", "b"), group("a"), group("b"), group("d")]
    found = await run_groups(groups, only=None)
    assert list(found) == ["c", "a", "b", "d"]
    assert sorted(begun) == [("a", 0.0), ("b", 0.0), ("c", 5.0), ("d", 0.0)]
    begun.clear()
    assert list(await run_groups(groups, only="c")) == ["c"]
    assert {name for name, _ in begun} == {"a", "b", "c"}


async def test_a_group_that_does_not_end_or_fails_is_a_failure_and_the_others_go_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def hang() -> Sequence[Finding]:
        await trio.sleep_forever()
        raise AssertionError

    async def fail() -> Sequence[Finding]:
        raise ChainUnavailable("away")

    async def fine() -> Sequence[Finding]:
        return [ok("fine", "fine")]

    groups = [
        Group(name="hang", run=hang, seconds=7),
        Group(name="fail", run=fail),
        Group(name="fine", run=fine),
        Group(name="blocked", run=hang, after=("fail",), blocked=lambda: "no chain"),
    ]
    found = await run_groups(groups, only=None)
    assert [(each.level, each.seen) for [each] in found.values()] == [
        (Level.FAILURE, "no answer within 7 s"),
        (Level.FAILURE, "away"),
        (Level.OK, "fine"),
        (Level.SKIPPED, "no chain"),
    ]


async def test_a_mistake_of_a_check_is_not_a_finding() -> None:
    async def mistake() -> Sequence[Finding]:
        raise KeyError("oops")

    with pytest.RaisesGroup(KeyError):
        await run_groups([Group(name="mistake", run=mistake)], only=None)
