"""The programs on the real chain against the specification in plain Python, in any order of steps.

It prints how often each instruction succeeded and was refused, in the attacks too.
"""

from collections import Counter
from typing import ClassVar

import pytest

from .counts import Counts
from .policy_limits import PolicyLimits
from .pool_rules import PoolRules
from .running import is_fuzzing, run
from .steps import SUCCESS

pytestmark = pytest.mark.slow(seconds=30)

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
    "AnotherYieldProgramHolds",
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
# Only programs may call these: a direct call is always refused.
NEVER_DIRECTLY = {"lock_collateral", "unlock_collateral", "transfer_collateral"}


def test_the_programs_do_what_the_specification_says_and_nothing_else(all_counts: Counts) -> None:
    class Vaults(PolicyLimits, PoolRules):
        reached: ClassVar[Counter[tuple[str, str]]] = Counter()
        counts: ClassVar[Counts] = all_counts

    try:
        run(Vaults, sequences=100, steps=50, share=0.75)
    finally:
        print(f"\n{Vaults.counts.table()}\n{Vaults.reached.total()} steps of the specification")  # noqa: T201

    if is_fuzzing():  # the shorter profile is too short for every instruction
        assert not Vaults.counts.never_succeeded(), "write a rule for what never succeeded"
    succeeded = Counter(name for name, outcome in Vaults.reached.elements() if outcome == SUCCESS)
    assert succeeded.keys() >= SUCCESSES
    assert not succeeded.keys() & NEVER_DIRECTLY
    assert {outcome for _, outcome in Vaults.reached} >= REFUSALS
    assert succeeded.total() > Vaults.reached.total() / 2, "most steps must lead somewhere"
