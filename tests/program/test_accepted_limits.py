"""What the programs leave to trust, and the remedy: docs/security.md has the reasons."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.governing import pause
from tests.program.harness.guard_changes import DAY, WEEK, min_delay, multisig
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    START,
    Ledger,
    change_lock,
    govern,
    readonly,
    token_address,
    vault_address,
)
from tests.program.harness.positions import (
    close_position,
    open_position,
    settle_position_summary,
    trader,
    with_position_manager,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.refusals import assert_refused
from tests.program.harness.venues import writable


def lock(ledger: Ledger, owner: Keypair, amount: int) -> Instruction:
    """Return a call of a listed program that locks what is available, and asks nobody."""
    given = change_lock("lock_collateral", owner.pubkey(), amount, caller_program=PUPPET)
    return puppet_call(ledger, given)


# A listed program and an exit


@pytest.mark.parametrize("during_the_exit", [True, False], ids=["during an exit", "before it"])
def test_a_listed_program_locks_what_is_available_until_it_is_removed(
    governed: Ledger, governance: Keypair, during_the_exit: bool
) -> None:
    """It claims what it locks, so that no exit frees it while the program is listed."""
    with_puppet(governed)
    owner = governed.owner(deposited=1_000)
    key = owner.pubkey()
    governed.must(govern("add_authorized_program", governance.pubkey(), value=PUPPET), governance)
    if not during_the_exit:
        governed.must(lock(governed, owner, 1_000), governance)
    governed.must(build("request_exit", key), owner)
    governed.later(WEEK)
    if during_the_exit:
        governed.must(lock(governed, owner, 1_000), governance)
    summary = governed.put_summary(key, program=PUPPET, open_positions=1, locked_amount=1_000)
    release = build("release_unclaimed", key, remaining=[readonly(summary)])
    assert_refused(governed.send(release, owner), "NotFound")
    assert governed.vault(key)["available_balance"] == 0

    remove = govern("remove_authorized_program", governance.pubkey(), value=PUPPET)
    governed.must(remove, governance)
    governed.must(build("release_unclaimed", key), owner)
    governed.must(build("withdraw", key, amount=1_000), owner)
    assert governed.tokens(key) == 1_000


def test_a_freeze_stops_a_listed_program_before_it_locks_more(
    governed: Ledger, governance: Keypair
) -> None:
    with_puppet(governed)
    owner = governed.owner(deposited=1_000)
    governed.must(govern("add_authorized_program", governance.pubkey(), value=PUPPET), governance)
    governed.must(govern("set_freeze_flag", governance.pubkey(), value=True), governance)
    assert_refused(governed.send(lock(governed, owner, 1_000), governance), "Frozen")


# A request and the delay


def test_a_request_keeps_the_delay_of_its_day(governed: Ledger) -> None:
    owner = governed.owner(deposited=1_000)
    key = owner.pubkey()
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(build("request_withdraw", key, amount=1_000), owner)
    governed.must(min_delay(30 * DAY).at_once(owner), owner)
    governed.later(60)
    governed.must(build("withdraw", key, amount=1_000), owner)
    assert governed.tokens(key) == 1_000


def test_the_owner_cancels_an_old_request_before_it_ripens(governed: Ledger) -> None:
    owner = governed.owner(deposited=1_000)
    key = owner.pubkey()
    governed.must(min_delay(60).at_once(owner), owner)
    governed.must(build("request_withdraw", key, amount=1_000), owner)
    governed.must(min_delay(30 * DAY).at_once(owner), owner)
    cancel = build("cancel_withdraw_request", key, amount=1_000, executable_at=START + 60)
    governed.must(cancel, owner)
    governed.later(60)
    assert_refused(governed.send(build("withdraw", key, amount=1_000), owner), "Unauthorized")


# What was sent directly, and a pause


def closing(owner: Keypair) -> Instruction:
    """Return the closing of the vault, which pays what no balance counts to the owner."""
    key = owner.pubkey()
    return build("close_vault", key, remaining=[writable(token_address(key))])


def test_closing_pays_what_was_sent_directly_during_a_pause_too(
    governed: Ledger, governance: Keypair
) -> None:
    """It is no collateral: no balance has ever counted it."""
    owner = governed.owner()
    key = owner.pubkey()
    governed.put_tokens(vault_address(key), 500)
    governed.must(pause(governance.pubkey(), 60), governance)
    governed.must(closing(owner), owner)
    assert governed.tokens(key) == 500


def test_a_pause_keeps_collateral_and_what_was_sent_to_a_vault_that_has_some(
    governed: Ledger, governance: Keypair
) -> None:
    owner = governed.owner(deposited=1)
    key = owner.pubkey()
    governed.put_tokens(vault_address(key), 501)
    governed.must(pause(governance.pubkey(), 60), governance)
    sweep = {"token_account": token_address(vault_address(key))}
    sweep |= {"recipient_token_account": token_address(key)}
    for given, error in (
        (build("withdraw", key, amount=1), "WithdrawalsPaused"),
        (build("sweep", key, accounts=sweep), "WithdrawalsPaused"),
        (closing(owner), "NonZeroBalance"),
    ):
        assert_refused(governed.send(given, owner), error)
    assert governed.tokens(key) == 0


def test_a_multisig_keeps_what_was_sent_directly_from_the_owners_key(governed: Ledger) -> None:
    owner, other = governed.owner(), governed.wallet()
    governed.must(multisig([other], 1).at_once(owner), owner)
    governed.put_tokens(vault_address(owner.pubkey()), 500)
    assert_refused(governed.send(closing(owner), owner), "Unauthorized")


# Two position managers and one locked balance


@pytest.mark.parametrize("settled", [False, True], ids=["as it comes", "settled"])
def test_a_summary_that_claims_too_much_frees_what_another_program_locked_unless_it_is_settled(
    governed: Ledger, governance: Keypair, settled: bool
) -> None:
    """Its program was removed, an exit freed its collateral, and it is listed again with another.

    The remedy: settle its summaries before it is listed again. Anybody may.
    """
    with_puppet(with_position_manager(governed))
    owner = trader(governed, deposited=100)
    key, by = owner.pubkey(), governance.pubkey()
    governed.must(open_position(key, 100), owner)
    governed.must(build("request_exit", key), owner)
    governed.later(WEEK)
    governed.must(govern("remove_authorized_program", by, value=POSITION_MANAGER), governance)
    governed.must(build("release_unclaimed", key), owner)
    if settled:
        governed.must(settle_position_summary(key), governed.wallet())
    for program in (POSITION_MANAGER, PUPPET):
        governed.must(govern("add_authorized_program", by, value=program), governance)
    governed.must(lock(governed, owner, 100), owner)
    governed.put_summary(key, program=PUPPET, open_positions=1, locked_amount=100)

    closed = governed.send(close_position(key, 100), owner)
    assert (closed.error is None) != settled
    assert governed.vault(key)["locked_balance"] == (100 if settled else 0)
    rescued = governed.send(build("emergency_withdraw", key, amount=100), owner)
    assert (rescued.error is None) != settled
    assert governed.tokens(key) == (0 if settled else 100)


def test_a_manager_that_is_never_listed_again_frees_nothing(
    governed: Ledger, governance: Keypair
) -> None:
    """A new version at another address starts without summaries."""
    with_puppet(with_position_manager(governed))
    owner = trader(governed, deposited=100)
    key, by = owner.pubkey(), governance.pubkey()
    governed.must(open_position(key, 50), owner)
    governed.must(govern("remove_authorized_program", by, value=POSITION_MANAGER), governance)
    governed.must(govern("add_authorized_program", by, value=PUPPET), governance)
    governed.must(lock(governed, owner, 50), owner)
    assert_refused(governed.send(close_position(key, 50), owner), "UnauthorizedProgram")
