"""`make mutants`: every mutant of the programs must fail a test.

    python -m tests.program.mutants [--jobs 2] [--tests TEXT] [--quick] [--list] [--all] [PART ...]

A PART is text of a mutant's file, function or change, such as `transfer_collateral`.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from tests.paths import ROOT
from tests.program.mutants.combined import can_be_chosen
from tests.program.mutants.equivalent import EQUIVALENT
from tests.program.mutants.examination import Result, Selection, examine
from tests.program.mutants.mutations import Mutant, derive
from tests.program.mutants.record import Record

OUTCOMES = ("killed", "survived", "equivalent", "same bytes", "does not build")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="text of the mutants' keys; all if none is given")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tests", default="", help="run only the tests whose id has this text")
    parser.add_argument(
        "--quick", action="store_true", help="leave out the slow tests, to see what may survive"
    )
    parser.add_argument(
        "--all", action="store_true", help="examine those again, too, that record.txt has"
    )
    parser.add_argument("--list", action="store_true", help="show the mutants and end")
    given = parser.parse_args(arguments)
    every = derive(ROOT / "program")
    chosen = [each for each in every if not given.parts or matches(each, given.parts)]
    if given.list:
        show(*map(str, chosen))
        return 0
    record = Record.read()
    if not given.all:
        chosen = record.missing(chosen)
    # First what a test fails in a second, then what is built alone, last what passes all tests.
    chosen.sort(key=lambda each: (each.key in EQUIVALENT, not can_be_chosen(each)))
    results = []
    for result in run(chosen, given.jobs, Selection(given.tests, quick=given.quick)):
        results.append(result)
        if result.outcome != "survived":
            record.add(result.mutant)
    record.prune(every)
    results.sort(key=lambda each: (each.mutant.file, each.mutant.start))
    return report(results, every=every)


def report(results: Sequence[Result], *, every: Sequence[Mutant]) -> int:
    """Show what became of the mutants. Return 1 if one survived, or a review is out of date."""
    killed = {each.mutant.key for each in results if each.outcome == "killed"}
    stale = EQUIVALENT.keys() - {mutant.key for mutant in every} | EQUIVALENT.keys() & killed
    survivors = [each for each in results if each.survived]
    show("", *table(results), "")
    show(*(f"SURVIVED {each.mutant}" for each in survivors))
    show(*(f"STALE in equivalent.py: {key}" for key in sorted(stale)))
    return 1 if stale or survivors else 0


def run(chosen: Sequence[Mutant], jobs: int, tests: Selection) -> Iterator[Result]:
    """Examine the mutants, and show what becomes of each."""
    started = time.monotonic()
    examined_ones = examine(chosen, jobs=jobs, tests=lambda _: tests)
    for number, examined in enumerate(examined_ones, 1):
        reason = EQUIVALENT.get(examined.mutant.key) if examined.survived else None
        result = Result(examined.mutant, "equivalent", reason) if reason else examined
        seconds = round(time.monotonic() - started)
        by = "" if result.outcome == "does not build" else f" ({result.by})"
        show(f"{number}/{len(chosen)} {seconds} s {result.outcome}: {result.mutant}{by}")
        yield result


def table(results: Sequence[Result]) -> list[str]:
    """Return a line for each source, and how many of its mutants came to what."""
    counts = Counter((each.mutant.file, each.outcome) for each in results)
    files = sorted({each.mutant.file for each in results})
    lines = [f"{'source':<60}" + "".join(f"{name:>15}" for name in OUTCOMES)]
    for file in files:
        lines.append(f"{file:<60}" + "".join(f"{counts[file, name]:>15}" for name in OUTCOMES))
    totals = Counter(each.outcome for each in results)
    return [*lines, f"{'all':<60}" + "".join(f"{totals[name]:>15}" for name in OUTCOMES)]


def matches(mutant: Mutant, parts: Sequence[str]) -> bool:
    return any(part in mutant.key for part in parts)


def show(*lines: str) -> None:
    for line in lines:
        print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that workers end, too
    sys.exit(main(sys.argv[1:]))
