"""A process that runs the tests on each mutant, until one fails.

Mutants that were built together are chosen by number; the others, and those that no test fails, are
built here. It collects the tests once, and forks for each mutant: the fork runs the tests that
reach it, in the order in which they probably fail. Requests come in on standard input and results
go out on standard output, as lines of JSON.
"""

import json
import os
import select
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import pytest

from tests.program.mutants.mutations import Mutant
from tests.program.mutants.reach import EVERY, Reach, measure
from tests.program.mutants.workshop import Workshop

SECONDS_TO_TEST = 600
TESTED = "tests/program"
# These pin the programs' bytes or costs, which any mutant changes, or would start this tool again.
LEFT_OUT = (
    "tests/program/deployment/test_executable_hash.py",
    "tests/program/test_compute_units.py",
    "tests/program/mutants/",
)


@dataclass(slots=True)
class Verdicts:
    """The tests that are known to pass, or fail, on programs without a mutant."""

    place: Callable[[], None]
    passing: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)


class Worker:
    """A pytest plugin that runs the collected tests for each mutant instead of once."""

    def __init__(self, workshop: Workshop, requests: Iterable[str], results: IO[str]) -> None:
        self.workshop, self.requests, self.results = workshop, requests, results
        self.failed: str | None = None
        self.unmutated = Verdicts(workshop.restore)
        self.unchosen = Verdicts(partial(workshop.choose, 0))
        self.killers: defaultdict[str, list[str]] = defaultdict(list)
        self.reach = Reach({})

    def pytest_collection(self) -> None:
        """Set up hypothesis before the tests' modules are imported: a failure need not be small."""
        from hypothesis import Phase, settings

        phases = [Phase.explicit, Phase.generate]
        settings.register_profile("mutants", deadline=None, database=None, phases=phases)
        settings.load_profile("mutants")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = [item for item in session.items if not item.nodeid.startswith(LEFT_OUT)]
        assert items, "no test was collected"
        for line in self.requests:
            request = json.loads(line)
            if "reach" in request:
                self.learn(Path(request["reach"]), items)
                print("{}", file=self.results, flush=True)
                continue
            mutant = Mutant(**request["mutant"])
            text, quick = request["tests"]["text"], request["tests"]["quick"]
            chosen = [
                item for item in items if text in item.nodeid and not (quick and is_slow(item))
            ]
            outcome = self.examine(mutant, request["number"], self.in_order(mutant, chosen))
            print(json.dumps({"mutant": asdict(mutant), **outcome}), file=self.results, flush=True)
        return True

    def examine(self, mutant: Mutant, number: int, items: list[pytest.Item]) -> dict[str, str]:
        left = items
        if number:
            items = [item for item in items if self.reach.may_fail(item.nodeid, number)]
            self.workshop.choose(number)
            if killer := self.killer(items, self.unchosen):
                return self.killed(mutant, killer)
            left = [item for item in items if item.nodeid in self.unchosen.failing]
        failure = self.workshop.build_mutant(mutant)
        if failure is not None:
            return {"outcome": "does not build", "by": failure}
        if self.workshop.same_bytes():
            return {"outcome": "same bytes", "by": "the compiler"}
        if killer := self.killer(left, self.unmutated):
            return self.killed(mutant, killer)
        passed = sum(item.nodeid not in self.unmutated.failing for item in items)
        return {"outcome": "survived", "by": f"{passed} tests passed"}

    def learn(self, file: Path, items: list[pytest.Item]) -> None:
        """Read which tests reach which mutant, or find it out of the quick ones, in a fork."""
        if not file.exists():
            self.workshop.choose(EVERY)
            child = os.fork()
            if child == 0:
                measure([item for item in items if not is_slow(item)], self.passes_here, file)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        self.reach = Reach.read(file)

    def passes_here(self, item: pytest.Item, next_item: pytest.Item | None) -> bool:
        self.failed = None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=next_item)
        return self.failed is None

    def killed(self, mutant: Mutant, killer: str) -> dict[str, str]:
        self.killers[mutant.file].insert(0, killer)
        return {"outcome": "killed", "by": killer}

    def killer(self, items: list[pytest.Item], without: Verdicts) -> str | None:
        """Return the first test that fails because of the mutant: without it, it passes."""
        while True:
            left = [item for item in items if item.nodeid not in without.failing]
            failed = self.run(left)
            if failed is None or failed in without.passing:
                return failed
            at = [item.nodeid for item in left].index(failed)
            if self.passes(left[at], without):
                without.passing.add(failed)
                return failed
            without.failing.add(failed)
            items = left[at + 1 :]

    def passes(self, item: pytest.Item, without: Verdicts) -> bool:
        mutants = {elf: elf.read_bytes() for elf in self.workshop.elfs.iterdir()}
        without.place()
        try:
            return self.run([item]) is None
        finally:
            for elf, data in mutants.items():
                elf.write_bytes(data)

    def run(self, items: list[pytest.Item]) -> str | None:
        """Run the tests in a fork, until one fails. Return its id, or None if all pass."""
        if not items:
            return None
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self.run_here(items, writing)
        os.close(writing)
        try:
            return self.first_failure(items, reading)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(reading)

    def first_failure(self, items: list[pytest.Item], reading: int) -> str | None:
        """Read the ids of the tests that pass. The test that ends or stops the fork fails."""
        received = b""
        while select.select([reading], [], [], SECONDS_TO_TEST)[0]:
            part = os.read(reading, 65536)
            received += part
            if not part or received.count(b"\n") == len(items):
                break
        passed = received.count(b"\n")
        return None if passed == len(items) else items[passed].nodeid

    def run_here(self, items: list[pytest.Item], writing: int) -> None:
        try:
            for item, next_item in zip(items, [*items[1:], None], strict=True):
                if not self.passes_here(item, next_item):
                    break
                os.write(writing, b"\n")
        finally:
            os._exit(0)

    def in_order(self, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        """Return the tests with those first that probably fail, and slow ones last.

        Of those that are as probable, one of each module comes before the second of any.
        """
        killers = self.killers[mutant.file]
        modules: Counter[str] = Counter()

        def rank(item: pytest.Item) -> tuple[bool, int, int, int]:
            module = item.nodeid.partition("::")[0]
            modules[module] += 1
            known = killers.index(item.nodeid) if item.nodeid in killers[:5] else 5
            return is_slow(item), known, -likeness(mutant, item.nodeid), modules[module]

        return sorted(items, key=rank)


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def likeness(mutant: Mutant, nodeid: str) -> int:
    """Return how many names the mutant's place and the test's share."""
    names = [Path(mutant.file).stem, mutant.function, mutant.file.partition("/")[0]]
    return sum(name.removesuffix("s") in nodeid for name in names if len(name) > 3)


def main(folder: str) -> int:
    """Serve requests with the workshop in `folder`, which tests get their programs from."""
    workshop = Workshop(Path(folder))
    assert os.environ["CVMS_TEST_PROGRAMS"] == str(workshop.elfs)
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tests print is none
    options = ["--quiet", "--capture=no", "-p", "no:cacheprovider", "-p", "no:faulthandler"]
    options += [f"--basetemp={folder}/pytest", TESTED]
    return pytest.main(options, plugins=[Worker(workshop, sys.stdin, results)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
