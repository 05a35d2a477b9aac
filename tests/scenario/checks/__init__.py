"""What is checked of the books, table by table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

K = TypeVar("K", bound=Hashable)

MOST_TOLD = 3
"""Of many that are wrong in the same way, so many are told."""


@dataclass(frozen=True, slots=True)
class Broken:
    """An invariant that does not hold: in which table, and what is there instead of what."""

    invariant: str
    table: str
    says: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.table}: {self.says}"


def same_list(
    invariant: str, table: str, books: Iterable[Any], truth: Iterable[Any]
) -> Iterator[Broken]:
    """Both are the same, in the same order: the first place where they are not."""
    ours, real = list(books), list(truth)
    if ours == real:
        return
    missing, extra = Counter(map(repr, real)), Counter(map(repr, ours))
    missing, extra = missing - extra, extra - missing
    for text in list(missing)[:MOST_TOLD]:
        yield Broken(invariant, table, f"missing {missing[text]} times: {text}")
    for text in list(extra)[:MOST_TOLD]:
        yield Broken(invariant, table, f"too many by {extra[text]}: {text}")
    if not missing and not extra:
        at = next(at for at, pair in enumerate(zip(ours, real, strict=True)) if pair[0] != pair[1])
        says = f"in another order from row {at} on: {ours[at]} instead of {real[at]}"
        yield Broken(invariant, table, says)


def same_map(
    invariant: str, table: str, books: Mapping[K, Any], truth: Mapping[K, Any]
) -> Iterator[Broken]:
    """Both hold the same keys with the same values."""
    for key in sorted(books.keys() | truth.keys(), key=repr):
        ours, real = books.get(key), truth.get(key)
        if ours != real:
            yield Broken(invariant, table, f"{key}: {ours} instead of {real}")
