"""The curves of docs/growth.md."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from bench.report import Row
from tests.chaos.line_chart import Chart, draw_charts

Curves = dict[str, list[tuple[float, float]]]

SOCKETS = re.compile(r"(?P<x>\d+) WebSockets, (?P<line>--workers \d), (?P<chart>.+)")
WRITERS = re.compile(r"outbox: (?P<x>\d+) writers, (?P<line>.+)")
LISTENERS = re.compile(r"NOTIFY: \d+ writers, (?P<x>\d+) listeners(?P<line>.*)")


def draw(rows: Iterable[Row], folder: Path) -> None:
    """Draw what was measured; a part that was not keeps its picture."""
    rows = list(rows)
    sockets: dict[str, Curves] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if match := SOCKETS.fullmatch(row.what):
            title = f"{match['chart']} ({row.unit})"
            sockets[title][match["line"]].append((math.log10(int(match["x"])), row.value))
    if sockets:
        charts = [Chart(title, lines, "= log10(clients)") for title, lines in sockets.items()]
        (folder / "growth-sockets.svg").write_text(draw_charts(charts))
    found = [
        Chart(title, curves, unit)
        for title, pattern, unit in (
            ("Transactions/s that append to the outbox", WRITERS, "writers"),
            ("Transactions/s that notify, with 16 writers", LISTENERS, "listeners"),
        )
        if (curves := _curves(rows, pattern))
    ]
    if found:
        (folder / "growth-outbox.svg").write_text(draw_charts(found))


def _curves(rows: Iterable[Row], pattern: re.Pattern[str]) -> Curves:
    curves: Curves = defaultdict(list)
    for row in rows:
        if match := pattern.fullmatch(row.what):
            line = match["line"].removeprefix(", ") or "each waits for the disk"
            curves[line].append((int(match["x"]), row.value))
    return curves
