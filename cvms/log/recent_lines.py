"""The newest lines of this process, for administrators who cannot read where they are collected."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

LINES = 2000
MAX_LINE = 4096
"""In bytes; of a longer line only the first fields are kept. All take at most 8 MiB."""
LEVELS = ("debug", "info", "warning", "error", "critical")
_TIME, _EVENT, _LEVEL = "timestamp", "event", "level"


@dataclass(frozen=True, slots=True)
class _Line:
    at: datetime
    level: int
    encoded: bytes


@dataclass(slots=True, eq=False)
class RecentLines:
    """A ring of lines, each as JSON, so that what they hold in memory is known."""

    _lines: deque[_Line] = field(default_factory=lambda: deque(maxlen=LINES), init=False)

    def add(self, line: Mapping[str, Any]) -> None:
        """Keep a line of the log: what may be logged, with its `timestamp` and `level`."""
        level = str(line.get(_LEVEL, "info"))
        known = LEVELS.index(level) if level in LEVELS else 1
        at = datetime.fromisoformat(str(line[_TIME]))
        self._lines.append(_Line(at, known, _encoded(_shown(line))))

    def find(
        self, *, since: datetime, level: str = "debug", text: str = "", limit: int
    ) -> list[dict[str, Any]]:
        """Return the newest lines of this level or a higher one that hold the text, oldest first.

        Upper and lower case are the same.
        """
        lowest, wanted = LEVELS.index(level), text.lower()
        found: list[bytes] = []
        for line in reversed(self._lines):
            if line.at < since or len(found) == limit:
                break
            if line.level >= lowest and wanted in line.encoded.decode().lower():
                found.append(line.encoded)
        return [msgspec.json.decode(each) for each in reversed(found)]


def _shown(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line as administrators see it, what it is about first."""
    first = {"at": line[_TIME], _LEVEL: line.get(_LEVEL), _EVENT: line.get(_EVENT)}
    return first | {name: value for name, value in line.items() if name not in (_TIME, *first)}


def _encoded(line: dict[str, Any]) -> bytes:
    encoded = msgspec.json.encode(line, enc_hook=str)
    if len(encoded) <= MAX_LINE:
        return encoded
    kept: dict[str, Any] = {"shortened": True}
    for name, value in line.items():
        short = value[: MAX_LINE // 4] if isinstance(value, str) else value
        longer = msgspec.json.encode(kept | {name: short}, enc_hook=str)
        if len(longer) <= MAX_LINE:
            kept[name] = short
    return msgspec.json.encode(kept, enc_hook=str)
