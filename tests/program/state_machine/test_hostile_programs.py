"""Hostile yield programs and wrappers, in any order of attacks. `make fuzz` makes more of them."""

import os
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .counts import Counts, every_instruction
from .hostile import NAMES, HostilePrograms

pytestmark = pytest.mark.slow(seconds=15)

RUNS = {"ci": 40, "long": 1_000}


def test_no_program_takes_more_than_it_is_lent() -> None:
    class Attacks(HostilePrograms):
        reached: ClassVar[Counter[tuple[str, str]]] = Counter()
        counts: ClassVar[Counts] = every_instruction()

    profile = os.environ.get("HYPOTHESIS_PROFILE", "ci")
    given = settings(
        max_examples=RUNS[profile],
        derandomize=profile == "ci",
        database=None,
        print_blob=True,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Attacks, settings=given)

    print(f"\n{dict(Attacks.reached)}")  # noqa: T201
    for name in (*NAMES[:2], "change_the_mint"):
        assert Attacks.reached[name, "success"] > 10, name
    for name in (*NAMES, "change_the_mint", "wrap"):
        assert Attacks.reached[name, "refused"] > 10, name
