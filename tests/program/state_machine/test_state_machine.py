"""The programs on the real chain against the specification in plain Python, in any order of steps.

The shorter profile runs the same steps each time, as long as the same modules are imported
(Hypothesis draws constants from them). For many new steps, run `make fuzz`, or

    HYPOTHESIS_PROFILE=long pytest -s tests/program/state_machine

This takes FUZZ_MINUTES (10), and prints how often each instruction succeeded and was refused.

A failure prints its steps and a line `@reproduce_failure(...)`. Above `class Vaults`, that line
repeats them in any profile.
"""

import os
import time
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from .counts import Counts, every_instruction
from .policy_limits import PolicyLimits
from .pool_rules import PoolRules
from .steps import SUCCESS, Steps

pytestmark = pytest.mark.slow(seconds=30)

PROFILES = {
    "ci": settings(max_examples=100, derandomize=True, database=None, print_blob=True),
    "long": settings(max_examples=100, print_blob=True),  # again and again
}
# Each of these happens dozens of times in the shorter profile.
SUCCESSES = {
    "accept_governance",
    "apply_guard_change",
    "cancel_guard_change",
    "cancel_timelock",
    "cancel_withdraw_request",
    "close_position",
    "close_vault",
    "compound_yield",
    "deposit",
    "emergency_withdraw",
    "open_position",
    "pause_withdrawals",
    "propose_governance",
    "rebalance_collateral",
    "release_timelocks",
    "request_guard_change",
    "release_unclaimed",
    "request_exit",
    "request_withdraw",
    "schedule_timelock",
    "set_transfer_allowance",
    "set_vault_multisig",
    "settle_position_summary",
    "sweep",
    "withdraw",
    "yield_deposit",
    "yield_withdraw",
}
REFUSALS = {
    "AccountNotInitialized",
    "DurationTooLong",
    "Frozen",
    "GuardInForce",
    "InsufficientFunds",
    "InsufficientInterest",
    "InsufficientYieldBalance",
    "InvalidAmount",
    "NonZeroBalance",
    "NotExecutableNow",
    "NotFound",
    "OpenPositionsExist",
    "TokenInsufficientFunds",
    "Unauthorized",
}
# These only in the longer one.
RARE_REFUSALS = {"InvalidProgramId", "TransferNotAgreed", "WithdrawalsPaused"}
# Only programs may call these: a direct call is always refused.
NEVER_DIRECTLY = {"lock_collateral", "unlock_collateral", "transfer_collateral"}


def test_the_programs_do_what_the_specification_says_and_nothing_else() -> None:
    class Vaults(PolicyLimits, PoolRules):
        reached: ClassVar[Counter[tuple[str, str]]] = Counter()
        counts: ClassVar[Counts] = every_instruction()

    profile = os.environ.get("HYPOTHESIS_PROFILE", "ci")
    try:
        run(Vaults, profile)
    finally:
        print(f"\n{Vaults.counts.table()}")  # noqa: T201

    never = Vaults.counts.never_succeeded()
    if profile == "long":  # the other one is too short for every instruction
        assert not never, "write a rule for what never succeeded"
        assert {outcome for _, outcome in Vaults.reached} >= RARE_REFUSALS
    succeeded = Counter(name for name, outcome in Vaults.reached.elements() if outcome == SUCCESS)
    assert succeeded.keys() >= SUCCESSES
    assert not succeeded.keys() & NEVER_DIRECTLY
    assert {outcome for _, outcome in Vaults.reached} >= REFUSALS
    assert succeeded.total() > Vaults.reached.total() / 2, "most steps must lead somewhere"


def run(machine: type[Steps], profile: str) -> None:
    """Run the profile; the longer one again with new steps, until the minutes are over."""
    minutes = float(os.environ.get("FUZZ_MINUTES", "10")) if profile == "long" else 0
    end = time.monotonic() + 60 * minutes
    given = settings(
        PROFILES[profile],
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=given)
    while time.monotonic() < end:
        print(f"{machine.reached.total()} steps, {round(end - time.monotonic())} s left")  # noqa: T201
        run_state_machine_as_test(machine, settings=given)
