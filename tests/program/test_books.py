"""No instruction changes a vault whose balances do not add up.

No instruction can produce such balances: they are written directly.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Ledger

DELAY, DURATION, WEEK = 60, 1_000, 7 * 24 * 60 * 60
DELEGATE, NEW_DELEGATE, RECIPIENT = (Keypair().pubkey() for _ in range(3))
CHANGES: Mapping[str, Mapping[str, Any]] = {
    "add_delegate": {"delegate": NEW_DELEGATE},
    "remove_delegate": {"delegate": DELEGATE},
    "request_exit": {},
    "schedule_timelock": {"amount": 5, "duration_seconds": DURATION},
    "cancel_timelock": {"amount": 10, "unlock_time": START + DURATION},
    "release_timelocks": {},
    "request_withdraw": {"amount": 5},
    "cancel_withdraw_request": {"amount": 10, "executable_at": START + DELAY},
    "remove_withdraw_whitelist": {"address": RECIPIENT},
}


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of 100 units, who can make each change."""
    owner = governed.owner(deposited=100)
    for name, arguments in (
        ("add_delegate", {"delegate": DELEGATE}),
        ("add_withdraw_whitelist", {"address": RECIPIENT}),
        ("schedule_timelock", {"amount": 10, "duration_seconds": DURATION}),
        ("set_withdraw_min_delay", {"seconds": DELAY}),
        ("request_withdraw", {"amount": 10}),
    ):
        governed.must(build(name, owner.pubkey(), **arguments), owner)
    return owner


@pytest.mark.parametrize("name", CHANGES)
def test_a_vault_that_does_not_add_up_is_not_changed(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    key: Pubkey = owner.pubkey()
    change = build(name, key, **CHANGES[name])
    governed.change_vault(key, total_balance=101)
    refused(governed, key, change, owner, error="InvariantViolation")
    governed.change_vault(key, total_balance=100)
    governed.must(change, owner)


def test_a_vault_of_nothing_that_has_something_available_is_not_closed(governed: Ledger) -> None:
    owner = governed.owner()
    close = build("close_vault", owner.pubkey())
    governed.change_vault(owner.pubkey(), available_balance=1)
    refused(governed, owner.pubkey(), close, owner, error="InvariantViolation")
    governed.change_vault(owner.pubkey(), available_balance=0)
    governed.must(close, owner)


def test_nothing_is_released_in_a_vault_that_does_not_add_up(governed: Ledger) -> None:
    owner = governed.owner(deposited=100)
    key: Pubkey = owner.pubkey()
    governed.change_vault(key, available_balance=60, locked_balance=40)
    governed.must(build("request_exit", key), owner)
    governed.later(WEEK)
    release = build("release_unclaimed", key)
    governed.change_vault(key, total_balance=101)
    refused(governed, key, release, owner, error="InvariantViolation")
    governed.change_vault(key, total_balance=100)
    governed.must(release, owner)
