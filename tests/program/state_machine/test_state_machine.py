"""The programs on the real chain against the specification in plain Python, in any order of steps.

The shorter profile runs the same steps each time, as long as the same modules are imported
(Hypothesis draws constants from them). For many new steps, run `make fuzz`, or

    HYPOTHESIS_PROFILE=long pytest tests/program/state_machine

A failure prints its steps and a line `@reproduce_failure(...)`. Above `class Vaults`, that line
repeats them in any profile.
"""

import os
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .policy_limits import PolicyLimits
from .steps import SUCCESS

pytestmark = pytest.mark.slow(seconds=30)

PROFILES = {
    "ci": settings(max_examples=100, derandomize=True, database=None, print_blob=True),
    "long": settings(max_examples=2500, print_blob=True),
}
# Each of these happens dozens of times in the shorter profile.
SUCCESSES = {
    "apply_guard_change",
    "cancel_guard_change",
    "close_position",
    "close_vault",
    "compound_yield",
    "deposit",
    "emergency_withdraw",
    "open_position",
    "rebalance_collateral",
    "release_timelocks",
    "request_guard_change",
    "request_withdraw",
    "schedule_timelock",
    "set_transfer_allowance",
    "set_vault_multisig",
    "withdraw",
    "yield_deposit",
    "yield_withdraw",
}
REFUSALS = {
    "AccountNotInitialized",
    "Frozen",
    "GuardInForce",
    "InsufficientFunds",
    "InsufficientInterest",
    "InsufficientYieldBalance",
    "InvalidAmount",
    "NonZeroBalance",
    "NotExecutableNow",
    "OpenPositionsExist",
    "TokenInsufficientFunds",
    "Unauthorized",
}
# Only programs may call these: a direct call is always refused.
NEVER_DIRECTLY = {"lock_collateral", "unlock_collateral", "transfer_collateral"}


def test_the_programs_do_what_the_specification_says_and_nothing_else() -> None:
    class Vaults(PolicyLimits):
        reached: ClassVar[Counter[tuple[str, str]]] = Counter()

    profile = settings(
        PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "ci")],
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Vaults, settings=profile)

    succeeded = Counter(name for name, outcome in Vaults.reached.elements() if outcome == SUCCESS)
    assert succeeded.keys() >= SUCCESSES
    assert not succeeded.keys() & NEVER_DIRECTLY
    assert {outcome for _, outcome in Vaults.reached} >= REFUSALS
    assert succeeded.total() > Vaults.reached.total() / 2, "most steps must lead somewhere"
