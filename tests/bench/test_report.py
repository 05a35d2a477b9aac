"""The comparison of a run of the benchmarks with the run before."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from bench.report import (
    Compared,
    Report,
    Results,
    Row,
    compare,
    finish,
    ratio_of,
    read_report,
    render_compared,
    row,
)


def run(*rows: Row, load: float = 0.5) -> Results:
    return Results("2026-01-02 03:04", load, 2, (Report("reads", rows),))


def only(now: Results, before: Results | None) -> Compared:
    [line] = compare(now, before)
    return line


def rate(ratio: float) -> Row:
    return row("health", ratio * 1000, "requests/s", 1000)


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("requests/s", 0.5), ("tx/s", 0.5), ("ms", 2.0), ("CPU ms", 2.0), ("MiB", 2.0)],
)
def test_more_is_better_for_rates_and_less_for_times_and_sizes(unit: str, expected: float) -> None:
    assert ratio_of(10, unit, 20) == expected


@pytest.mark.parametrize("unit", ["", "requests", "s of it", "ms "])
def test_a_unit_without_a_better_way_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match="neither a rate"):
        row("health", 10, unit, 20)


@pytest.mark.parametrize(("before", "now"), [(0.9, 0.6), (0.9, 0.1), (1.5, 0.99)])
def test_a_ratio_that_fell_by_a_third_is_a_fault(before: float, now: float) -> None:
    assert only(run(rate(now)), run(rate(before))).fault == "fell by a third or more"


@pytest.mark.parametrize(("before", "now"), [(0.9, 0.61), (0.9, 0.9), (0.5, 5.0)])
def test_a_smaller_fall_and_a_rise_are_none(before: float, now: float) -> None:
    line = only(run(rate(now)), run(rate(before)))
    assert line.fault is None
    assert line.before == pytest.approx(before)


def test_a_time_that_grew_by_half_has_a_ratio_that_fell_by_a_third() -> None:
    before, now = run(row("p95", 10, "ms", 5)), run(row("p95", 15, "ms", 5))
    assert only(now, before).fault == "fell by a third or more"


def test_a_slower_machine_is_no_fault_while_the_ratio_stays() -> None:
    before, now = run(row("p95", 10, "ms", 5)), run(row("p95", 40, "ms", 20))
    assert only(now, before).fault is None


def test_a_missing_line_is_a_fault() -> None:
    gone = row("balance", 900, "requests/s", 1000)
    kept, missing = compare(run(rate(0.5)), run(rate(0.5), gone))
    assert kept.fault is None
    assert (missing.row, missing.fault) == (gone, "is no longer measured")


def test_a_line_that_lost_its_baseline_is_a_fault() -> None:
    line = only(run(row("health", 900, "requests/s")), run(rate(0.5)))
    assert line.fault == "has lost its baseline"


def test_a_new_line_is_marked_and_no_fault() -> None:
    _, new = compare(run(rate(0.5), row("balance", 1, "ms", 1)), run(rate(0.5)))
    assert (new.fault, new.note, new.before) == (None, "new", None)


def test_a_first_run_has_nothing_new_and_no_faults() -> None:
    line = only(run(rate(0.5)), None)
    assert (line.fault, line.note) == (None, "")


def test_equal_names_in_two_benchmarks_are_two_lines() -> None:
    both = Results("", 0, 2, (Report("a", (rate(0.9),)), Report("b", (rate(0.1),))))
    assert [line.fault for line in compare(both, both)] == [None, None]


def test_the_table_prints_both_loads_and_shouts_a_fault() -> None:
    now, before = run(rate(0.3), load=7.5), run(rate(0.9), load=0.5)
    table = render_compared(compare(now, before), now, before)
    assert "load of the machine 7.5 on 2 cores" in table
    assert "load 0.5 on 2 cores" in table
    expected = "| reads | health | 300 | requests/s | 1,000 | 0.3 | 0.9 | FELL BY A THIRD OR MORE |"
    assert expected in table.splitlines()


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    report = Report("reads", (rate(0.5), row("memory", 5, "MiB")))
    finish(report, tmp_path / "reads.json")
    assert read_report(tmp_path / "reads.json") == report
    found = json.loads((tmp_path / "reads.json").read_bytes())
    assert found["rows"][0].keys() == {"what", "value", "unit", "baseline", "ratio"}


def test_a_ratio_of_the_wrong_direction_is_corrected(tmp_path: Path) -> None:
    wrong = Report("reads", (Row(what="p95", value=10, unit="ms", baseline=5, ratio=2),))
    (tmp_path / "reads.json").write_bytes(msgspec.json.encode(wrong))
    assert read_report(tmp_path / "reads.json").rows[0].ratio == 0.5
