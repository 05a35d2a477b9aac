"""The level of the log, which an administrator may change for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


def _apply_nothing(level: str) -> None:
    pass


@dataclass(frozen=True, slots=True)
class HeldLevel:
    """A level that holds `until` then, which is in `seconds_left`."""

    level: str
    until: datetime
    seconds_left: float


@dataclass(slots=True, eq=False)
class LogLevel:
    """The configured level, and another one that holds for a time.

    `apply` makes a level the one that holds, and is called for each change.
    """

    configured: str
    apply: Callable[[str], None] = _apply_nothing
    clock: Callable[[], float] = time.monotonic
    until: datetime | None = None
    """When the configured level returns; None while it holds."""
    current: str = ""
    _ends_at: float = float("inf")

    def __post_init__(self) -> None:
        self.current = self.configured

    def hold(self, held: HeldLevel | None) -> bool:
        """Let another level hold for a time, or end that; return whether the level has changed."""
        level = self.configured if held is None else held.level
        self.until = None if held is None else held.until
        self._ends_at = float("inf") if held is None else self.clock() + held.seconds_left
        changed, self.current = level != self.current, level
        if changed:
            self.apply(level)
        return changed

    def end_if_due(self) -> bool:
        """Return to the configured level if the time is over; return whether the level changed."""
        return self.clock() >= self._ends_at and self.hold(None)
