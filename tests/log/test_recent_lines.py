"""Administrators find the newest lines of a process, which take a bounded amount of memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cvms.log.recent_lines import LINES, MAX_LINE, RecentLines

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def line(number: int, level: str = "info", **fields: Any) -> dict[str, Any]:
    at = NOW + timedelta(seconds=number)
    return {"timestamp": at.isoformat(), "level": level, "event": f"event_{number}", **fields}


def test_lines_are_found_by_time_level_and_text() -> None:
    recent = RecentLines()
    for number, level in enumerate(["debug", "info", "warning", "error", "info"]):
        recent.add(line(number, level, owner=f"Owner{number % 2}"))

    def found(**wanted: Any) -> list[str]:
        query = {"since": NOW, "limit": 10, **wanted}
        return [each["event"] for each in recent.find(**query)]

    assert found(level="warning") == ["event_2", "event_3"]
    assert found(text="owner1") == ["event_1", "event_3"]
    assert found(since=NOW + timedelta(seconds=3)) == ["event_3", "event_4"]
    assert found(limit=2) == ["event_3", "event_4"]
    [last] = recent.find(since=NOW, limit=1)
    assert list(last) == ["at", "level", "event", "owner"]


def test_the_number_and_the_size_of_lines_are_bounded() -> None:
    recent = RecentLines()
    for number in range(LINES + 10):
        recent.add(line(number))
    recent.add(
        line(LINES + 10, exception=[{"frames": ["x" * 100] * MAX_LINE}], text="y" * MAX_LINE)
    )
    found = recent.find(since=NOW, limit=2 * LINES)
    assert (len(found), found[0]["event"]) == (LINES, "event_11")
    assert found[-1]["shortened"]
    assert found[-1]["event"] == f"event_{LINES + 10}"
    assert len(str(found[-1])) < MAX_LINE
