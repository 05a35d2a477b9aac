"""All benchmarks run, whatever happens to one of them; any that fails ends in failure."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bench.report import Report, Results, row
from bench.run_all import BENCHMARKS, TOTAL_SECONDS, Benchmark, run_all
from tests.paths import ROOT

PROGRAM = """
import signal, sys
from pathlib import Path
if "hang" in sys.argv:
    signal.pause()
if "interrupted" in sys.argv:
    try:
        signal.pause()
    except KeyboardInterrupt:
        Path({stopped!r}).touch()
if "silent" not in sys.argv:
    ratio = float(sys.argv[1])
    text = '{{"name":"%s","rows":[{{"what":"x","value":%s,"unit":"a/s","baseline":1,"ratio":0}}]}}'
    if "broken" in sys.argv:
        text = "{{}}"
    Path(sys.argv[-1]).write_text(text % (Path(__file__).stem, ratio) if "%" in text else text)
sys.exit(3 if "missed" in sys.argv else 0)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of two benchmarks that report a ratio, `one` and `other`."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for name in ("one", "other"):
        text = PROGRAM.format(stopped=str(tmp_path / "stopped"))
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def run(folder: Path, arguments: str, *, seconds: float = 60, **options: bool) -> bool:
    benchmarks = [Benchmark("one", arguments, seconds), Benchmark("other", "0.9", 60)]
    return run_all(benchmarks, folder / "results.json", **options)


def keep(folder: Path, *reports: Report) -> None:
    kept = Results("2026-01-02 03:04", 0.5, 2, reports)
    (folder / "results.json").write_bytes(msgspec.json.encode(kept))


def kept(folder: Path) -> dict[str, float | None]:
    found = msgspec.json.decode((folder / "results.json").read_bytes(), type=Results)
    return {each.name: each.rows[0].ratio for each in found.reports}


def test_all_is_well_without_an_earlier_run(
    program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not run(program, "0.5")
    assert "| one | x | 0.5 | a/s | 1 | 0.5 |  |  |" in capfd.readouterr().out
    assert not (program / "results.json").exists()


def test_a_ratio_that_fell_by_a_third_fails_and_says_where(
    program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep(program, Report("one", (row("x", 0.9, "a/s", 1),)))
    assert run(program, "0.5")
    assert "FAILED one: x fell by a third or more" in capfd.readouterr().out


def test_results_are_written_on_request_only(program: Path) -> None:
    keep(program, Report("one", (row("x", 0.9, "a/s", 1),)))
    assert run(program, "0.5")
    assert kept(program) == {"one": 0.9}
    assert run(program, "0.5", write=True)
    assert kept(program) == {"one": 0.5, "other": 0.9}
    assert not run(program, "0.5")


@pytest.mark.parametrize(
    ("arguments", "seconds", "reason"),
    [
        ("0.5 hang", 1.0, "one took longer than 1 s"),
        ("0.5 missed", 60, "one ended with 3"),
        ("0.5 silent", 60, "one has written no report"),
        ("0.5 broken", 60, "one has written no good report: Object missing required field"),
    ],
)
def test_one_that_fails_fails_the_whole_and_the_others_run(
    program: Path,
    capfd: pytest.CaptureFixture[str],
    arguments: str,
    seconds: float,
    reason: str,
) -> None:
    assert run(program, arguments, seconds=seconds)
    printed = capfd.readouterr().out
    assert f"FAILED {reason}" in printed
    assert "| other | x | 0.9 | a/s | 1 | 0.9 |  |  |" in printed


def test_the_figures_of_one_that_misses_its_goal_are_shown(
    program: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(program, "0.5 missed")
    assert "| one | x | 0.5 | a/s | 1 | 0.5 |  |  |" in capfd.readouterr().out


def test_one_that_is_out_of_time_can_stop_its_servers(program: Path) -> None:
    assert run(program, "0.5 interrupted", seconds=2.0)
    assert (program / "stopped").exists()


def test_without_time_left_the_rest_is_not_begun(
    program: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.run_all.TOTAL_SECONDS", 0.0)
    assert run(program, "0.5")
    assert "FAILED other had no time left" in capfd.readouterr().out


def test_a_part_is_compared_with_its_part_and_leaves_the_rest(program: Path) -> None:
    whole = [Report(name, (row("x", 0.5, "a/s", 1),)) for name in ("one", "two", "other")]
    keep(program, *whole)
    assert run(program, "0.5")
    assert not run(program, "0.5", whole=False, write=True)
    assert kept(program) == {"one": 0.5, "two": 0.5, "other": 0.9}


def test_the_figures_of_one_that_failed_are_kept(program: Path) -> None:
    keep(program, Report("one", (row("x", 0.9, "a/s", 1),)))
    assert run(program, "0.5 silent", write=True)
    assert kept(program) == {"one": 0.9, "other": 0.9}


# --- the table -----------------------------------------------------------------------------------


def runnable(*marks: str) -> set[str]:
    """The modules of bench/ that can be run and contain one of these texts."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        for path in (ROOT / "bench").rglob("*.py")
        if '__name__ == "__main__"' in (text := path.read_text())
        if any(mark in text for mark in marks)
    }


def test_every_benchmark_that_writes_a_report_is_in_the_table() -> None:
    assert {each.module for each in BENCHMARKS} == runnable("--json", "report.add_arguments") - {
        "bench.run_all"
    }


def test_all_bounds_together_are_within_the_bound_of_all() -> None:
    assert sum(each.seconds for each in BENCHMARKS) <= TOTAL_SECONDS


PERFORMANCE = (ROOT / "docs" / "performance.md").read_text()
COMMAND = re.compile(r"`python -m ([\w.]+)")


def figure_sections() -> dict[str, str]:
    """The sections of docs/performance.md that have a table."""
    sections = re.split(r"^## ", PERFORMANCE, flags=re.MULTILINE)[1:]
    return {each.splitlines()[0]: each for each in sections if "\n|---" in each}


@pytest.mark.parametrize("title", figure_sections())
def test_every_table_of_figures_names_the_command_that_prints_it(title: str) -> None:
    named = set(COMMAND.findall(figure_sections()[title]))
    assert named
    assert named <= runnable("")


def test_every_benchmark_is_documented() -> None:
    assert {each.module for each in BENCHMARKS} <= set(COMMAND.findall(PERFORMANCE))
