"""What a leaked key costs where nothing holds it up. docs/security.md says so."""

import pytest
from solders.keypair import Keypair

from tests.program.harness import positions
from tests.program.harness.effects import refused
from tests.program.harness.governing import (
    DAY,
    HOUR,
    accept,
    limit_transfers,
    recover,
    transfer_limits,
)
from tests.program.harness.guard_changes import min_delay, multisig
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    POSITION_MANAGER,
    START,
    TOKEN,
    Ledger,
    change_lock,
    govern,
    readonly,
    summary_address,
    token_data,
    transfer_collateral,
    vault_address,
    withdraw,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.refusals import assert_refused

FOREVER = 2**63 - 1


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    keypair = governed.owner(deposited=1_000)
    governed.later(1)
    return keypair


# Governance


def test_without_limits_a_leaked_governance_key_takes_everything(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """Whatever guards there are: they hold what owners take out."""
    governed.must(multisig([governed.wallet()], 1).at_once(owner), owner)
    thief, key = governed.owner(), owner.pubkey()
    with_puppet(governed)
    steps = [
        govern("add_authorized_program", governance.pubkey(), value=PUPPET),
        puppet_call(governed, change_lock("lock_collateral", key, 1_000, caller_program=PUPPET)),
        puppet_call(
            governed, transfer_collateral(key, thief.pubkey(), 1_000, caller_program=PUPPET)
        ),
    ]
    assert governed.send(steps, governance).error is None
    rest = build("emergency_withdraw", thief.pubkey(), amount=1_000)
    governed.must(rest, thief)
    assert governed.tokens(thief.pubkey()) == 1_000


def test_a_leaked_governance_key_frees_the_collateral_of_a_position(
    governed: Ledger, governance: Keypair
) -> None:
    """Limits do not count it, since nothing is transferred."""
    positions.with_position_manager(with_puppet(governed))
    loser = positions.trader(governed, deposited=100)
    key = loser.pubkey()
    governed.must(positions.open_position(key, 100), loser)
    steps = [
        limit_transfers(governance.pubkey(), 0, 0),
        govern("remove_authorized_program", governance.pubkey(), value=POSITION_MANAGER),
        govern("add_authorized_program", governance.pubkey(), value=PUPPET),
        puppet_call(governed, change_lock("unlock_collateral", key, 100, caller_program=PUPPET)),
    ]
    assert governed.send(steps, governance).error is None
    summary = readonly(summary_address(vault_address(key), PUPPET))
    governed.must(withdraw(key, 100, remaining=[summary]), loser)


def test_a_raise_that_a_thief_requested_outlives_the_recovery_until_limits_are_set_again(
    governed: Ledger, governance: Keypair
) -> None:
    authority, new = governed.wallet(), governed.wallet()
    governed.set_upgrade_authority(authority.pubkey())
    governed.must(limit_transfers(governance.pubkey(), 10, 10), governance)
    governed.must(limit_transfers(governance.pubkey(), 99, 99), governance)
    recovery = [recover(authority.pubkey(), new.pubkey()), accept(new.pubkey())]
    assert governed.send(recovery, authority, new).error is None
    assert transfer_limits(governed)["pending_at"] == START + 72 * HOUR
    governed.must(limit_transfers(new.pubkey(), 10, 10), new)
    assert transfer_limits(governed)["pending_at"] == 0


# An owner's key


def test_a_multisig_that_the_owners_key_satisfies_guards_nothing(
    governed: Ledger, owner: Keypair
) -> None:
    """Nor does a delay beside it, which the multisig's signatures end."""
    governed.must(multisig([owner], 1).at_once(owner), owner)
    governed.must(min_delay(DAY).at_once(owner), owner)
    steps = [min_delay(0).at_once(owner), withdraw(owner.pubkey(), 1_000)]
    assert governed.send(steps, owner).error is None
    assert governed.tokens(owner.pubkey()) == 1_000


def test_under_a_delay_a_thief_takes_nothing_at_once_and_holds_everything_back(
    governed: Ledger, owner: Keypair
) -> None:
    """Owner and thief have the same key, so each cancels what the other has requested."""
    key, shorter = owner.pubkey(), min_delay(0)
    governed.must(min_delay(DAY).at_once(owner), owner)
    lock = build("schedule_timelock", key, amount=1_000, duration_seconds=FOREVER - START - 1)
    assert governed.send([min_delay(FOREVER).at_once(owner), lock], owner).error is None
    [entry] = governed.vault(key)["timelocks"]
    cancel = build("cancel_timelock", key, **entry)
    refused(governed, key, cancel, owner, error="GuardInForce")
    governed.must(shorter.request(owner), owner)
    governed.later(365 * DAY)
    assert governed.send([shorter.cancel(key, by=owner)], owner).error is None
    assert_refused(governed.send(shorter.apply(owner), owner), "AccountNotInitialized")
    refused(governed, key, cancel, owner, error="GuardInForce")


def test_an_empty_vault_is_opened_again_without_its_guards(
    governed: Ledger, owner: Keypair
) -> None:
    """So what lies beside its own token account is swept with the owner's key alone."""
    empty, others = governed.owner(), [governed.wallet(), governed.wallet()]
    key, gift, pocket = empty.pubkey(), Keypair().pubkey(), Keypair().pubkey()
    governed.put(gift, TOKEN, token_data(vault_address(key), 7, MINT))
    governed.put(pocket, TOKEN, token_data(key, 0, MINT))
    governed.must(multisig(others, 2).at_once(empty), empty)
    accounts = {"token_account": gift, "recipient_token_account": pocket}
    sweep = build("sweep", key, accounts=accounts)
    refused(governed, key, sweep, empty, error="Unauthorized")
    reopen = [build("close_vault", key), build("initialize_vault", key)]
    assert governed.send([*reopen, sweep], empty).error is None
    assert governed.tokens_at(pocket) == 7
