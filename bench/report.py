"""What a benchmark measured: its JSON, its table, and its comparison with an earlier run.

Every benchmark takes `--json FILE` and writes one `Report` there. A ratio says how near the value
comes to the baseline of the same run, and more is always better: rates are divided by the baseline,
times and sizes divide it. So ratios compare across machines and days, and values do not.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

TIMES_AND_SIZES = frozenset({"ns", "µs", "ms", "s", "min", "B", "KiB", "MiB", "GiB"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure. `ratio` is absent where nothing in the same run is its measure."""

    what: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None


class Report(msgspec.Struct, frozen=True):
    """The figures of one benchmark."""

    name: str
    rows: tuple[Row, ...]


class Results(msgspec.Struct, frozen=True):
    """One run of all benchmarks, as `bench/results.json` keeps it."""

    measured: str
    load: float
    cores: int
    reports: tuple[Report, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """A figure beside the ratio of the earlier run, and what is wrong with it, if anything."""

    benchmark: str
    row: Row
    before: float | None
    fault: str | None
    note: str = ""


def row(what: str, value: float, unit: str, baseline: float | None = None) -> Row:
    """Return a row with its ratio. Raises ValueError for a unit of which neither way is better."""
    return Row(
        what=what,
        value=value,
        unit=unit,
        baseline=baseline,
        ratio=None if baseline is None else ratio_of(value, unit, baseline),
    )


def ratio_of(value: float, unit: str, baseline: float) -> float:
    """Return how near `value` comes to `baseline`, more being better."""
    if unit.endswith("/s"):
        return value / baseline
    if unit.rpartition(" ")[2] in TIMES_AND_SIZES:
        return baseline / value
    raise ValueError(f"{unit!r} is neither a rate (…/s) nor one of {sorted(TIMES_AND_SIZES)}")


# --- one benchmark -------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option that every benchmark has."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report there")


def machine() -> str:
    """Return what else the machine is doing, for the head of every output."""
    return f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def finish(report: Report, path: Path | None) -> None:
    """Print a report as a table, and write it to `path` if there is one."""
    print("\n".join(render(report.rows)), flush=True)
    if path is not None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))


def read_report(path: Path) -> Report:
    """Read a benchmark's report; its ratios are taken from its values and baselines.

    Raises msgspec.DecodeError, or ValueError for an unknown unit.
    """
    found = msgspec.json.decode(path.read_bytes(), type=Report)
    rows = (
        each if each.baseline is None else row(each.what, each.value, each.unit, each.baseline)
        for each in found.rows
    )
    return Report(found.name, tuple(rows))


def render(rows: Iterable[Row]) -> Iterator[str]:
    yield "| | value | unit | baseline | ratio |"
    yield "|---|---|---|---|---|"
    for each in rows:
        cells = (number(each.value), each.unit, number(each.baseline), number(each.ratio))
        yield f"| {each.what} | {' | '.join(cells)} |"


def number(value: float | None) -> str:
    """Return three digits of a number, or all digits before its point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# --- all benchmarks ------------------------------------------------------------------------------


def results(reports: Sequence[Report], load: float) -> Results:
    """Return the reports of a run that began at this load of the machine."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    return Results(now, round(load, 1), os.cpu_count() or 1, tuple(reports))


def compare(now: Results, before: Results | None) -> list[Compared]:
    """Set each figure beside that of the earlier run.

    Faulty are a ratio that fell by a third or more, and a line that is no longer measured. A new
    line, and one without a ratio, has nothing to be compared with.
    """
    earlier = _by_line(before) if before else {}
    compared = []
    for (benchmark, what), each in _by_line(now).items():
        old = earlier.pop((benchmark, what), None)
        ratio = old.ratio if old else None
        compared.append(
            Compared(
                benchmark,
                each,
                ratio,
                _fault(each.ratio, ratio),
                note="new" if before and old is None else "",
            )
        )
    for (benchmark, _), old in earlier.items():
        compared.append(Compared(benchmark, old, old.ratio, "is no longer measured"))
    return compared


def _by_line(run: Results) -> dict[tuple[str, str], Row]:
    return {(report.name, each.what): each for report in run.reports for each in report.rows}


def _fault(now: float | None, before: float | None) -> str | None:
    if before is None:
        return None
    if now is None:
        return "has lost its baseline"
    return "fell by a third or more" if now * 3 <= before * 2 else None


def render_compared(lines: Sequence[Compared], now: Results, before: Results | None) -> str:
    """Return one table of all benchmarks, with the load of the machine in both runs."""
    head = [f"Measured {now.measured}; load of the machine {now.load} on {now.cores} cores"]
    if before:
        head.append(f"Compared with {before.measured}; load {before.load} on {before.cores} cores")
    head += ["", "| benchmark | | value | unit | baseline | ratio | before | |"]
    head.append("|---|---|---|---|---|---|---|---|")
    for line in lines:
        each = line.row
        figures = map(number, (each.baseline, each.ratio, line.before))
        verdict = line.fault.upper() if line.fault else line.note
        cells = (line.benchmark, each.what, number(each.value), each.unit, *figures, verdict)
        head.append(f"| {' | '.join(cells)} |")
    return "\n".join(head)
