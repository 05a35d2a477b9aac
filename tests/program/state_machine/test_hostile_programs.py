"""Hostile yield programs and wrappers, in any order of attacks. `make fuzz` makes more of them."""

from collections import Counter
from typing import ClassVar

import pytest

from .counts import Counts
from .hostile import NAMES, HostilePrograms
from .running import run

pytestmark = pytest.mark.slow(seconds=15)


def test_no_program_takes_more_than_it_is_lent(all_counts: Counts) -> None:
    class Attacks(HostilePrograms):
        reached: ClassVar[Counter[tuple[str, str]]] = Counter()
        counts: ClassVar[Counts] = all_counts

    try:
        run(Attacks, sequences=40, steps=25, share=0.25)
    finally:
        print(f"\n{dict(Attacks.reached)}")  # noqa: T201

    for name in (*NAMES, "change_the_mint"):
        assert Attacks.reached[name, "success"] > 10, name
    for name in (*NAMES, "change_the_mint", "wrap", "borrow"):
        assert Attacks.reached[name, "refused"] > 10, name
