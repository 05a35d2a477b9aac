"""Every benchmark in its short form, one after the other, within 15 minutes.

    .venv/bin/python -m bench.run_all [--only bench.reads] [--write]

Prints one table of all figures, each beside the baseline of this run and the ratio of the run that
`bench/results.json` keeps; `--write` puts this run in its place. Exit code 1 if a ratio fell by a
third, if a figure is no longer measured, or if a benchmark failed or took too long: the others
still run.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench import report

RESULTS = Path(__file__).parent / "results.json"
TOTAL_SECONDS = 900.0
END_SECONDS = 45.0
"""For a benchmark that is out of time to stop its servers, before it is killed. Its PostgreSQL, a
daemon, would outlive it.
"""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module of `python -m`, the arguments of its short form, and its bound."""

    module: str
    arguments: str
    seconds: float


BENCHMARKS = (
    Benchmark("bench.load", "--seconds 2", 20),
    Benchmark("bench.reads", "--seconds 2", 110),
    Benchmark("bench.reads.queries", "--count 1500", 40),
    Benchmark("bench.reads.analytics", "--lines 200000", 60),
    Benchmark("bench.vaults", "--small 1000 --large 5000 --only reads", 40),
    Benchmark("bench.websockets", "--clients 500 --seconds 5 --idle 1000", 60),
    Benchmark("bench.tasks.submitter_rounds", "--transactions 500", 40),
    Benchmark("bench.tasks.reconciliation", "--vaults 3000", 50),
    Benchmark("bench.tasks.event_webhooks", "--seconds 2", 20),
    Benchmark("bench.tasks.failover", "--times 1", 90),
    Benchmark("bench.indexing.from_nothing", "--transactions 10000", 90),
    Benchmark("bench.indexing.block_to_websocket", "--seconds 8", 60),
    Benchmark("bench.indexing.rebuild", "--transactions 2000 6000", 40),
    Benchmark("bench.localnet", "--seconds 3", 50),
    Benchmark("bench.growth", "--seconds 1 --most 1000", 130),
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A benchmark without a usable report, or one that says that its goal is missed."""

    module: str
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(description="run every benchmark")
    parser.add_argument("--only", action="append", metavar="MODULE", help="may be repeated")
    parser.add_argument("--write", action="store_true", help=f"replace {RESULTS.name}")
    options = parser.parse_args()
    chosen = [each for each in BENCHMARKS if options.only is None or each.module in options.only]
    sys.exit(run_all(chosen, RESULTS, whole=options.only is None, write=options.write))


def run_all(
    benchmarks: Sequence[Benchmark], path: Path, *, whole: bool = True, write: bool = False
) -> bool:
    """Run these, print the table, and return whether anything is wrong.

    If they are not the `whole`, what was not run is not missed, and stays as it was.
    """
    load, until = os.getloadavg()[0], time.monotonic() + TOTAL_SECONDS
    before = msgspec.json.decode(path.read_bytes(), type=report.Results) if path.exists() else None
    reports, failures = [], []
    with tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder:
        for each in benchmarks:
            found, failure = run(each, Path(folder), within=until - time.monotonic())
            reports += [found] if found else []
            failures += [failure] if failure else []
    now = report.results(reports, load)
    ran = {each.name for each in reports}
    others = [each for each in before.reports if each.name not in ran] if before else []
    if before and not whole:
        before = msgspec.structs.replace(
            before, reports=tuple(each for each in before.reports if each.name in ran)
        )
    compared = report.compare(now, before)
    print(f"\n{report.render_compared(compared, now, before)}")
    faults = [f"{each.benchmark}: {each.row.what} {each.fault}" for each in compared if each.fault]
    for line in (*faults, *(f"{each.module} {each.reason}" for each in failures)):
        print(f"FAILED {line}")
    if write:
        gone = () if whole and not failures else others
        kept = msgspec.structs.replace(now, reports=(*now.reports, *gone))
        path.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    return bool(faults or failures)


def run(
    benchmark: Benchmark, folder: Path, *, within: float
) -> tuple[report.Report | None, Failure | None]:
    """Run a benchmark within its bound and the time that is left for all."""
    seconds = min(benchmark.seconds, within)
    if seconds <= 0:
        return None, Failure(benchmark.module, "had no time left")
    path = folder / f"{benchmark.module}.json"
    command = [sys.executable, "-m", benchmark.module, *benchmark.arguments.split()]
    print(f"\n{benchmark.module} {benchmark.arguments} (within {seconds:.0f} s)", flush=True)
    begin = time.monotonic()
    with subprocess.Popen([*command, "--json", str(path)], start_new_session=True) as process:
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
    print(f"took {time.monotonic() - begin:.0f} s", flush=True)
    if status is None:
        return None, Failure(benchmark.module, f"took longer than {seconds:.0f} s")
    failure = Failure(benchmark.module, f"ended with {status}") if status else None
    try:
        return report.read_report(path), failure
    except FileNotFoundError:
        return None, failure or Failure(benchmark.module, "has written no report")
    except (msgspec.DecodeError, ValueError) as error:
        return None, failure or Failure(benchmark.module, f"has written no good report: {error}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Interrupt a benchmark, which then stops its servers, and kill what is left of it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
