"""Runs of a machine: the same steps each time, or new ones for a share of the minutes.

The shorter profile runs the same steps each time, as long as the same modules are imported
(Hypothesis draws constants from them). For many new steps, run `make fuzz MINUTES=10`, or

    HYPOTHESIS_PROFILE=long FUZZ_MINUTES=10 pytest -s tests/program/state_machine

A failure prints its steps and a line `@reproduce_failure(...)`. Above the machine's class, that
line repeats them in any profile.
"""

import os
import time

from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

BATCH = 5
"""Sequences drawn at once. Hypothesis varies its own draws, so small batches differ more."""


def is_fuzzing() -> bool:
    return os.environ.get("HYPOTHESIS_PROFILE", "ci") == "long"


def run(machine: type[RuleBasedStateMachine], *, sequences: int, steps: int, share: float) -> None:
    """Run so many sequences; when fuzzing, new ones for this share of FUZZ_MINUTES."""
    given = settings(
        max_examples=BATCH if is_fuzzing() else sequences,
        derandomize=not is_fuzzing(),
        database=None,
        print_blob=True,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    minutes = float(os.environ.get("FUZZ_MINUTES", "10")) if is_fuzzing() else 0
    end = time.monotonic() + 60 * minutes * share
    run_state_machine_as_test(machine, settings=given)
    while time.monotonic() < end:
        run_state_machine_as_test(machine, settings=given)
