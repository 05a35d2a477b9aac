"""Timelocks that are open after the events of a vault."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from cvms.store.vaults.open_timelocks import OpenTimelock, follow

Recorded = tuple[str, dict[str, Any], datetime | None]


def scheduled(amount: int, unlock_time: int) -> Recorded:
    return "TimelockScheduledEvent", {"amount": amount, "unlock_time": unlock_time}, at(0)


def released(now: int) -> Recorded:
    return "TimelocksReleasedEvent", {}, at(now)


def cancelled(amount: int, unlock_time: int, new_unlock_time: int, *, now: int) -> Recorded:
    data = {"amount": amount, "unlock_time": unlock_time, "new_unlock_time": new_unlock_time}
    return "TimelockCancelledEvent", data, at(now)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


TWO = [scheduled(5, 50), scheduled(5, 50)]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([released(9)], []),
        ([scheduled(5, 10), released(10), scheduled(6, 10)], [(6, 10)]),
        ([*TWO, released(49)], [(5, 50), (5, 50)]),
        ([*TWO, cancelled(5, 50, 10, now=10)], [(5, 50)]),
        ([*TWO, cancelled(5, 50, 40, now=10)], [(5, 40), (5, 50)]),
        ([*TWO, cancelled(5, 50, 40, now=10), cancelled(5, 40, 11, now=11)], [(5, 50)]),
        ([*TWO, cancelled(5, 50, 40, now=10), released(45)], [(5, 50)]),
        ([*TWO, cancelled(6, 50, 10, now=10)], [(5, 50), (5, 50)]),
    ],
)
def test_cancelled_and_released_ones_are_left_out(
    events: list[Recorded], expected: list[tuple[int, int]]
) -> None:
    assert follow(events) == [OpenTimelock(*each) for each in expected]
