"""Sampling of lines that come in floods."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_KINDS = 512


@dataclass(slots=True)
class _Window:
    began: float
    admitted: int = 0
    left_out: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Sampler:
    """Admits the `first` of each kind in every window of `seconds`, and counts the others.

    Of more than MAX_KINDS it forgets those that began a window longest ago.
    """

    first: int
    seconds: float
    clock: Callable[[], float] = time.monotonic
    _windows: OrderedDict[str, _Window] = field(default_factory=OrderedDict, init=False)

    def admit(self, kind: str) -> int | None:
        """Return how many of the kind were left out before this one; None to leave it out too."""
        now = self.clock()
        window = self._windows.get(kind)
        if window is None or now >= window.began + self.seconds:
            before = window.left_out if window else 0
            self._begin(kind, _Window(now, left_out=before))
        window = self._windows[kind]
        if window.admitted >= self.first:
            window.left_out += 1
            return None
        window.admitted += 1
        before, window.left_out = window.left_out, 0
        return before

    def left_out(self, kind: str) -> int:
        """Return how many of the kind were left out since the last one that was admitted."""
        window = self._windows.get(kind)
        return window.left_out if window else 0

    def _begin(self, kind: str, window: _Window) -> None:
        self._windows[kind] = window
        self._windows.move_to_end(kind)
        if len(self._windows) > MAX_KINDS:
            self._windows.popitem(last=False)
