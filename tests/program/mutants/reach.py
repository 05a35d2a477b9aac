"""The tests that reach a mutant. The others run the same code with it as without it.

With the number EVERY in the ELF no mutant is chosen, and each that is reached logs its number.
"""

import json
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from solders.compute_budget import ComputeBudget
from solders.litesvm import LiteSVM

EVERY = 0xFFFF_FFFF
MARK = 0x6D75_7461
LOGGED = re.compile(rf"Program log: {MARK:#x}, (0x[0-9a-f]+), ")
ENOUGH_UNITS = 10**9


class Reach:
    """The numbers of the mutants that a test reaches; None if it is not known of that test."""

    def __init__(self, known: dict[str, set[int] | None]) -> None:
        self._known = known

    @classmethod
    def read(cls, file: Path) -> "Reach":
        found = json.loads(file.read_text())
        return cls({test: None if of is None else set(of) for test, of in found.items()})

    def may_fail(self, test: str, number: int) -> bool:
        reached = self._known.get(test)
        return reached is None or number in reached


def measure(
    tests: Sequence[pytest.Item],
    passes: Callable[[pytest.Item, pytest.Item | None], bool],
    file: Path,
) -> None:
    """Run the tests on virtual machines that read the logs, and write what they reach.

    A test that fails with these logs, or that makes none, may reach anything.
    """
    reached: set[int] = set()
    watch(reached)
    found: dict[str, list[int] | None] = {}
    for test, next_test in zip(tests, [*tests[1:], None], strict=True):
        reached.clear()
        found[test.nodeid] = sorted(reached) if passes(test, next_test) and reached else None
    file.write_text(json.dumps(found))


def watch(reached: set[int]) -> None:
    """Let all modules make virtual machines that collect the numbers that are logged."""

    def watched() -> Watched:
        budget = ComputeBudget(False)
        budget.compute_unit_limit = ENOUGH_UNITS
        svm = LiteSVM().with_compute_budget(budget).with_log_bytes_limit(None)
        return Watched(svm, reached)

    for module in list(sys.modules.values()):
        with suppress(AttributeError):
            if module.LiteSVM is LiteSVM and module.__name__ not in (__name__, LiteSVM.__module__):
                module.LiteSVM = watched  # type: ignore[attr-defined]


class Watched:
    """A virtual machine that collects what its transactions log."""

    def __init__(self, svm: Any, reached: set[int]) -> None:
        self._svm, self._reached = svm, reached

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._svm, name)
        if not name.startswith("with_"):
            return found
        return lambda *given: Watched(found(*given), self._reached)

    def send_transaction(self, transaction: Any) -> Any:
        result = self._svm.send_transaction(transaction)
        done = result.meta() if hasattr(result, "meta") else result
        for line in done.logs():
            if logged := LOGGED.match(line):
                self._reached.add(int(logged[1], 16))
        return result
