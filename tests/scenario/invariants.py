"""Hold the books against the truth, and name the invariant of docs/invariants.md that is broken.

Everything has to be final, and the service to have caught up, before this means anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.scenario.books import Books
from tests.scenario.checks import Broken
from tests.scenario.checks.asking import asking
from tests.scenario.checks.history import past
from tests.scenario.checks.sums import sums
from tests.scenario.checks.telling import telling
from tests.scenario.checks.vaults import vaults
from tests.scenario.truth import Truth


def check_invariants(truth: Truth, books: Books) -> list[Broken]:
    """Everything in which the books are not the chain, worst first; empty if they are."""
    return list(_all(truth, books))


def _all(truth: Truth, books: Books) -> Iterator[Broken]:
    yield from past(truth, books)
    yield from vaults(truth, books)
    yield from sums(truth, books)
    yield from telling(truth, books)
    yield from asking(truth, books)
