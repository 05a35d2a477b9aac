"""What the programs do not hold, since that takes a decision: each test fails for its reason."""

import pytest
from solders.keypair import Keypair

from tests.program.harness.guard_changes import DAY, WEEK, min_delay
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    Ledger,
    change_lock,
    govern,
    token_address,
    vault_address,
)
from tests.program.harness.positions import (
    close_position,
    open_position,
    trader,
    with_position_manager,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.venues import writable


@pytest.mark.xfail(strict=True, reason="a vault has one locked balance for all programs")
def test_a_claim_that_was_released_does_not_free_what_another_program_locked(
    governed: Ledger, governance: Keypair
) -> None:
    """A position manager comes back, and nobody settles its summary before another one locks."""
    with_puppet(with_position_manager(governed))
    owner = trader(governed, deposited=100)
    key, by = owner.pubkey(), governance.pubkey()
    governed.must(open_position(key, 100), owner)
    governed.must(build("request_exit", key), owner)
    governed.later(WEEK)
    governed.must(govern("remove_authorized_program", by, value=POSITION_MANAGER), governance)
    governed.must(build("release_unclaimed", key), owner)
    for program in (POSITION_MANAGER, PUPPET):
        governed.must(govern("add_authorized_program", by, value=program), governance)
    lock = change_lock("lock_collateral", key, 100, caller_program=PUPPET)
    governed.must(puppet_call(governed, lock), owner)
    governed.put_summary(key, program=PUPPET, open_positions=1, locked_amount=100)
    governed.send(close_position(key, 100), owner)
    governed.send(build("emergency_withdraw", key, amount=100), owner)
    assert governed.tokens(key) == 0


@pytest.mark.xfail(strict=True, reason="`close_vault` has no account that says so")
def test_a_pause_keeps_the_surplus_of_a_vault_that_is_closed(
    governed: Ledger, governance: Keypair
) -> None:
    owner = governed.owner()
    key = owner.pubkey()
    governed.put_tokens(vault_address(key), 500)
    pause = build("pause_withdrawals", key, authority=governance.pubkey(), seconds=60)
    governed.must(pause, governance)
    governed.send(build("close_vault", key, remaining=[writable(token_address(key))]), owner)
    assert governed.tokens(key) == 0


@pytest.mark.xfail(strict=True, reason="a request keeps the delay of the day on which it was made")
def test_a_withdrawal_waits_for_a_delay_that_was_raised_after_the_request(
    governed: Ledger,
) -> None:
    owner = governed.owner(deposited=1_000)
    key = owner.pubkey()
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(build("request_withdraw", key, amount=1_000), owner)
    governed.must(min_delay(30 * DAY).at_once(owner), owner)
    governed.later(60)
    governed.send(build("withdraw", key, amount=1_000), owner)
    assert governed.tokens(key) == 0


@pytest.mark.xfail(
    strict=True, reason="a listed program locks what is available, during an exit too"
)
def test_a_listed_program_does_not_reach_what_is_available(
    governed: Ledger, governance: Keypair
) -> None:
    """It claims what it locks, so that no exit frees it until governance removes the program."""
    with_puppet(governed)
    owner = governed.owner(deposited=1_000)
    key = owner.pubkey()
    list_it = govern("add_authorized_program", governance.pubkey(), value=PUPPET)
    governed.must(list_it, governance)
    governed.must(build("request_exit", key), owner)
    governed.later(WEEK)
    lock = change_lock("lock_collateral", key, 1_000, caller_program=PUPPET)
    governed.send(puppet_call(governed, lock), governance)
    assert governed.vault(key)["available_balance"] == 1_000
