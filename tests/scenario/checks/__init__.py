"""Checks of the tables against the expected state, by group of tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)

MAX_REPORTED = 3
"""Violations reported of each list."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold: the table, and what differs."""

    invariant: str
    table: str
    message: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.table}: {self.message}"


def same_list(
    invariant: str, table: str, actual: Iterable[Any], expected: Iterable[Any]
) -> Iterator[Violation]:
    """Check that both lists have equal items in the same order."""
    ours, real = list(actual), list(expected)
    if ours == real:
        return
    missing, extra = Counter(map(repr, real)), Counter(map(repr, ours))
    missing, extra = missing - extra, extra - missing
    for text in list(missing)[:MAX_REPORTED]:
        yield Violation(invariant, table, f"missing {missing[text]} times: {text}")
    for text in list(extra)[:MAX_REPORTED]:
        yield Violation(invariant, table, f"too many by {extra[text]}: {text}")
    if not missing and not extra:
        at = next(at for at, pair in enumerate(zip(ours, real, strict=True)) if pair[0] != pair[1])
        message = f"in another order from row {at} on: {ours[at]} instead of {real[at]}"
        yield Violation(invariant, table, message)


def same_map(
    invariant: str, table: str, actual: Mapping[K, Any], expected: Mapping[K, Any]
) -> Iterator[Violation]:
    """Check that both mappings have the same keys and values."""
    for key in sorted(actual.keys() | expected.keys(), key=repr):
        ours, real = actual.get(key), expected.get(key)
        if ours != real:
            yield Violation(invariant, table, f"{key}: {ours} instead of {real}")
