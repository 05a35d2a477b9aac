"""The programs on the real chain against the specification in plain Python, in whatever order.

A refutation prints its steps. What CI runs is the same each time; for a long run of new steps:

    HYPOTHESIS_PROFILE=long pytest tests/program/state_machine

A failure of that ends with the `@reproduce_failure` line that repeats it, and is tried first next
time.
"""

import os
from collections import Counter
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .policies import Policies
from .steps import SUCCESS

PROFILES = {
    "ci": settings(max_examples=100, derandomize=True, database=None, print_blob=True),
    "long": settings(max_examples=2500, print_blob=True),
}
# Only programs may lock and transfer collateral: called by nobody, these always refuse.
NEVER_DIRECTLY = {"lock_collateral", "unlock_collateral", "transfer_collateral"}


def test_the_programs_do_what_the_specification_says_and_nothing_else() -> None:
    class Vaults(Policies):
        reached: ClassVar[Counter[tuple[str, str]]] = Counter()

    profile = PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "ci")]
    slow = settings(
        profile,
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Vaults, settings=slow)

    succeeded = Counter(name for name, outcome in Vaults.reached.elements() if outcome == SUCCESS)
    assert succeeded.total() > 0.6 * Vaults.reached.total(), "most steps must lead somewhere"
    tried = {name for name, _ in Vaults.reached}
    assert tried - succeeded.keys() == NEVER_DIRECTLY
