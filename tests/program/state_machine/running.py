"""Runs of a machine: the same steps each time, or new ones for a share of the minutes.

The shorter profile runs the same steps each time. For many new steps, run
`make fuzz MINUTES=10`, or

    HYPOTHESIS_PROFILE=long FUZZ_MINUTES=10 pytest -s tests/program/state_machine

A failure prints its steps and a line `@reproduce_failure(...)`. Above the machine's class, that
line repeats them in any profile.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
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
    if not is_fuzzing():
        with _same_draws_in_each_process():
            run_state_machine_as_test(machine, settings=given)
        return
    minutes = float(os.environ.get("FUZZ_MINUTES", "10"))
    end = time.monotonic() + 60 * minutes * share
    run_state_machine_as_test(machine, settings=given)
    while time.monotonic() < end:
        run_state_machine_as_test(machine, settings=given)


@contextmanager
def _same_draws_in_each_process() -> Iterator[None]:
    """Draw no constants of the modules that a process happens to have imported.

    Hypothesis does so even where it is to repeat its draws. Then a test that other tests precede
    runs other steps than alone, and may not reach what it has to.
    """
    cache = providers.CONSTANTS_CACHE.cache
    with patch.object(providers, "_get_local_constants", Constants):
        cache.clear()
        try:
            yield
        finally:
            cache.clear()
