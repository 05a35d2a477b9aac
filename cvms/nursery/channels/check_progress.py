"""Progress of the kinds of checks of the database against the chain.

A provider may refuse one method for ever. What needs it then never completes, while the node is
available and the task runs. So each kind of check has an interval, and is overdue after three.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import trio

INTERVALS = 3
"""Intervals after which a check that has not completed is overdue."""
MIN_INTERVAL_SECONDS = 15.0
"""Shorter intervals count as this long: healing one vault may take half a minute."""


@dataclass(frozen=True, slots=True)
class CheckStatus:
    """Status of one kind of check, as shown by /ready; `detail` is why it does not complete.

    Only administrators see the detail, which may name hosts.
    """

    ok: bool
    detail: str
    completed_at: datetime | None
    kind: Literal["ok", "failed", "overdue"]

    def without_detail(self) -> CheckStatus:
        """Return the status with its kind as the detail."""
        return replace(self, detail="" if self.ok else self.kind)


@dataclass(frozen=True, slots=True)
class _Check:
    """Times are seconds of trio's clock; `began` is when the check was first expected."""

    interval: float
    began: float
    progressed: float
    completed: float | None = None
    completed_at: datetime | None = None
    problem: str | None = None


class CheckProgress:
    """The kinds of check that this process runs. Written by the reconciler."""

    def __init__(self) -> None:
        self._checks: dict[str, _Check] = {}

    def expect(self, intervals: Mapping[str, float]) -> None:
        """Begin to expect these kinds of check, each once in its interval (seconds)."""
        now = trio.current_time()
        for name, seconds in intervals.items():
            self._checks[name] = _Check(max(seconds, MIN_INTERVAL_SECONDS), now, now)

    def forget(self) -> None:
        """Expect nothing more: another replica runs the checks."""
        self._checks.clear()

    def progressed(self, name: str) -> None:
        """Record that a part of a long check is done, which delays when it is overdue."""
        now = trio.current_time()
        self._checks[name] = replace(self._checks[name], progressed=now, problem=None)

    def completed(self, name: str, *, finding: str | None = None) -> None:
        """Record that a check of this kind is done; `finding` is what it cannot put right."""
        now = trio.current_time()
        self._checks[name] = replace(
            self._checks[name],
            progressed=now,
            completed=now,
            completed_at=datetime.now(UTC),
            problem=finding,
        )

    def failed(self, name: str, problem: str) -> bool:
        """Record why a check did not complete; return whether that is the first time in a row."""
        before = self._checks[name]
        self._checks[name] = replace(before, problem=problem)
        return before.problem is None

    def ages(self) -> dict[str, float]:
        """Return the seconds since each kind completed, or since it was first expected."""
        now = trio.current_time()
        return {
            name: now - (check.began if check.completed is None else check.completed)
            for name, check in self._checks.items()
        }

    def overdue(self) -> dict[str, str]:
        """Return each kind that has not completed for three of its intervals, and why."""
        now = trio.current_time()
        return {
            name: _detail(age, self._checks[name].problem)
            for name, age in self.ages().items()
            if now - self._checks[name].progressed > INTERVALS * self._checks[name].interval
        }

    def statuses(self) -> dict[str, CheckStatus]:
        """Return the status of each kind: not ok while it fails or is overdue."""
        overdue = self.overdue()
        return {
            name: CheckStatus(
                ok=name not in overdue and check.problem is None,
                detail=overdue.get(name) or check.problem or "",
                completed_at=check.completed_at,
                kind="overdue" if name in overdue else "failed" if check.problem else "ok",
            )
            for name, check in self._checks.items()
        }


def _detail(age: float, problem: str | None) -> str:
    reason = "" if problem is None else f": {problem}"
    return f"has not completed for {age:.0f} seconds{reason}"
