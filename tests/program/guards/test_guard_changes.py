"""Changes that loosen: with the multisig's signatures at once, or announced and made later."""

from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import changes, refused
from tests.program.harness.guard_changes import (
    DAY,
    WEEK,
    GuardChange,
    allowance,
    min_delay,
    multisig,
    rate_limit,
    whitelisted,
)
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    START,
    SYSTEM,
    Ledger,
    vault_address,
    withdraw,
    without,
)
from tests.program.harness.refusals import assert_refused

FRIEND, NEW = Keypair(), Keypair()
EVENTS = {
    "Multisig": "MultisigSetEvent",
    "WithdrawMinDelay": "WithdrawMinDelaySetEvent",
    "WithdrawRateLimit": "WithdrawRateLimitSetEvent",
    "WhitelistAddition": "WithdrawWhitelistUpdatedEvent",
    "TransferAllowance": "TransferAllowanceSetEvent",
}
LOOSENING: list[tuple[GuardChange, dict[str, Any]]] = [
    (multisig([], 0), {"multisig_signers": [], "multisig_threshold": 0}),
    (multisig([NEW], 1), {"multisig_signers": [NEW.pubkey()], "multisig_threshold": 1}),
    (min_delay(60), {"min_withdraw_delay_seconds": 60}),
    (
        rate_limit(DAY, 101),
        {"rate_limit_amount": 101, "last_withdrawal_window_start": ..., "withdrawn_in_window": 0},
    ),
    (whitelisted(FRIEND.pubkey()), {"withdraw_whitelist": [FRIEND.pubkey()]}),
    (allowance(2**64 - 1), {"transfer_allowance": 2**64 - 1}),
]
each_loosening = pytest.mark.parametrize(("change", "result"), LOOSENING)


def expected(ledger: Ledger, result: dict[str, Any]) -> dict[str, Any]:
    """Return the fields, with the current time in place of `...`."""
    now = ledger.svm.get_clock().unix_timestamp
    return {name: now if value is ... else value for name, value in result.items()}


def event_of(change: GuardChange, owner: Pubkey) -> tuple[str, dict[str, Any]]:
    fields: dict[str, Any] = {"vault": vault_address(owner), "owner": owner}
    if change.variant == "WhitelistAddition":
        fields |= {"added": True, "new_len": 1}
    return EVENTS[change.variant], fields | change.fields


# With signatures


@each_loosening
def test_with_the_multisigs_signatures_a_change_is_made_at_once(
    governed: Ledger,
    guarded: Keypair,
    cosigners: list[Keypair],
    change: GuardChange,
    result: dict[str, Any],
) -> None:
    key, (one, two, _) = guarded.pubkey(), cosigners
    governed.later(1)
    for some in ((), (one,), (one, one), (one, FRIEND)):
        given = change.at_once(guarded, *some)
        signers = dict.fromkeys([guarded, *some])
        refused(governed, key, given, *signers, error="GuardInForce")
    unsigned = without(change.at_once(guarded, one, two), signer=3)
    refused(governed, key, unsigned, guarded, one, error="GuardInForce")
    given = change.at_once(guarded, two, one)
    fields = expected(governed, result)
    events = changes(governed, key, given, guarded, two, one, **fields)
    assert events == (event_of(change, key),)


def test_an_owner_among_the_signers_counts_as_one(governed: Ledger, owner: Keypair) -> None:
    other = governed.wallet()
    governed.must(multisig([owner, other], 2).at_once(owner), owner)
    off = build("disable_vault_multisig", owner.pubkey())
    refused(governed, owner.pubkey(), off, owner, error="GuardInForce")
    governed.must(multisig([], 0).at_once(owner, other), owner, other)


# Tightening


@pytest.mark.parametrize(
    ("change", "result"),
    [
        (min_delay(WEEK + DAY + 1), {"min_withdraw_delay_seconds": WEEK + DAY + 1}),
        (rate_limit(DAY, 99), {"rate_limit_amount": 99}),
        (rate_limit(2 * DAY, 100), {"rate_window_seconds": 2 * DAY}),
        (rate_limit(2**32 - 1, 1), {"rate_window_seconds": 2**32 - 1, "rate_limit_amount": 1}),
        (allowance(5), {}),
        (allowance(4), {"transfer_allowance": 4}),
        (allowance(0), {"transfer_allowance": 0}),
    ],
)
def test_the_owner_alone_tightens_or_repeats_a_guard_at_once(
    governed: Ledger, guarded: Keypair, change: GuardChange, result: dict[str, Any]
) -> None:
    governed.change_vault(guarded.pubkey(), transfer_allowance=5)
    governed.later(1)
    events = changes(governed, guarded.pubkey(), change.at_once(guarded), guarded, **result)
    assert events == (event_of(change, guarded.pubkey()),)


def test_a_first_rate_limit_starts_its_window_under_a_guard_too(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(min_delay(60).at_once(owner), owner)
    governed.later(9)
    given = rate_limit(60, 5).at_once(owner)
    fields = {"rate_window_seconds": 60, "rate_limit_amount": 5}
    fields["last_withdrawal_window_start"] = START + 9
    changes(governed, owner.pubkey(), given, owner, **fields)


def test_without_a_guard_the_owner_changes_everything_at_once(
    governed: Ledger, owner: Keypair
) -> None:
    for amount in (2**64 - 1, 5, 6):
        given = allowance(amount)
        events = changes(
            governed, owner.pubkey(), given.at_once(owner), owner, transfer_allowance=amount
        )
        assert events == (event_of(given, owner.pubkey()),)
    for change in (rate_limit(60, 5), rate_limit(30, 9), rate_limit(0, 0), min_delay(5)):
        governed.must(change.at_once(owner), owner)


@each_loosening
def test_a_vault_whose_balances_do_not_add_up_takes_no_change(
    governed: Ledger, owner: Keypair, change: GuardChange, result: dict[str, Any]
) -> None:
    """No instruction can produce such balances: they are written directly."""
    governed.change_vault(owner.pubkey(), total_balance=1)
    refused(governed, owner.pubkey(), change.at_once(owner), owner, error="InvariantViolation")


# By request


@each_loosening
def test_a_change_is_requested_and_made_after_the_delay(
    governed: Ledger, guarded: Keypair, change: GuardChange, result: dict[str, Any]
) -> None:
    key, wait = guarded.pubkey(), WEEK + DAY
    vault = vault_address(key)
    outcome = governed.must(change.request(guarded), guarded)
    both = {"vault": vault, "owner": key, "change": (change.variant, change.fields)}
    when = {"executable_at": START + wait}
    assert outcome.events == (("GuardChangeRequestedEvent", both | when),)
    bump = change.found(key)[1]
    assert change.state(governed, key) == both | when | {"requested_at": START, "bump": bump}
    refused(governed, key, change.request(guarded), guarded, error="AlreadyExists")

    governed.later(wait - 1)
    refused(governed, key, change.apply(guarded), guarded, error="NotExecutableNow")
    governed.later(1)
    fields = expected(governed, result)
    events = changes(governed, key, change.apply(guarded), guarded, **fields)
    assert events == (event_of(change, key), ("GuardChangeAppliedEvent", both))
    assert change.state(governed, key) is None
    refused(governed, key, change.apply(guarded), guarded, error="AccountNotInitialized")


@pytest.mark.parametrize(
    ("delay", "signers", "wait"),
    [
        (1, 0, 1),
        (60, 0, 60),
        (0, 1, WEEK),
        (60, 1, WEEK),
        (WEEK + 1, 1, WEEK + 1),
        (365 * DAY, 0, 365 * DAY),
        (365 * DAY + 1, 0, 365 * DAY),
        (2**63 - 1, 1, 365 * DAY),
    ],
)
def test_a_change_waits_for_the_delay_and_for_the_multisig_a_week(
    governed: Ledger, owner: Keypair, delay: int, signers: int, wait: int
) -> None:
    """A delay that no time reaches would otherwise stay for ever."""
    keypairs = [governed.wallet() for _ in range(signers)]
    governed.must(multisig(keypairs, signers).at_once(owner), owner)
    governed.must(min_delay(delay).at_once(owner), owner)
    change = whitelisted(FRIEND.pubkey())
    governed.must(change.request(owner), owner)
    governed.later(wait - 1)
    refused(governed, owner.pubkey(), change.apply(owner), owner, error="NotExecutableNow")
    governed.later(1)
    governed.must(change.apply(owner), owner)


def test_a_change_waits_for_the_delay_of_its_request_though_it_is_shorter_now(
    governed: Ledger, owner: Keypair
) -> None:
    cosigner = governed.wallet()
    governed.must(multisig([cosigner], 1).at_once(owner), owner)
    governed.must(min_delay(2 * WEEK).at_once(owner), owner)
    change = whitelisted(FRIEND.pubkey())
    governed.must(change.request(owner), owner)
    governed.must(min_delay(0).at_once(owner, cosigner), owner, cosigner)
    governed.later(2 * WEEK - 1)
    refused(governed, owner.pubkey(), change.apply(owner), owner, error="NotExecutableNow")
    governed.later(1)
    governed.must(change.apply(owner), owner)


def test_a_change_is_made_within_seven_days_or_not_at_all(
    governed: Ledger, guarded: Keypair
) -> None:
    change, key = min_delay(0), guarded.pubkey()
    governed.must(change.request(guarded), guarded)
    governed.later(WEEK + DAY + WEEK + 1)
    refused(governed, key, change.apply(guarded), guarded, error="NotExecutableNow")
    governed.later(-1)
    governed.must(change.apply(guarded), guarded)


def test_a_request_repeated_after_it_lapsed_waits_again(governed: Ledger, guarded: Keypair) -> None:
    change, key = min_delay(0), guarded.pubkey()
    governed.must(change.request(guarded), guarded)
    governed.later(WEEK + DAY)
    again = [change.cancel(key, by=guarded), change.request(guarded), change.apply(guarded)]
    assert_refused(governed.send(again, guarded), "NotExecutableNow")
    governed.must(again[0], guarded)
    governed.must(again[1], guarded)
    refused(governed, key, change.apply(guarded), guarded, error="NotExecutableNow")


def test_a_change_is_made_once_in_a_transaction_that_tries_twice(
    governed: Ledger, guarded: Keypair
) -> None:
    change, key = allowance(9), guarded.pubkey()
    governed.must(change.request(guarded), guarded)
    governed.later(WEEK + DAY)
    for again in (change.apply(guarded), change.cancel(key, by=guarded)):
        assert_refused(
            governed.send([change.apply(guarded), again], guarded), "AccountNotInitialized"
        )
    assert governed.vault(key)["transfer_allowance"] == 0
    apply, request = change.apply(guarded), change.request(guarded)
    assert governed.send([apply, request], guarded).error is None
    state = change.state(governed, key)
    assert state is not None
    assert state["requested_at"] == START + WEEK + DAY


def test_rent_goes_back_to_the_owner(
    governed: Ledger, guarded: Keypair, cosigners: list[Keypair]
) -> None:
    change, key, payer = min_delay(0), guarded.pubkey(), governed.wallet()
    before = lamports(governed, key)
    for end, by in (
        (change.apply(guarded), guarded),
        (change.cancel(key, by=cosigners[2]), cosigners[2]),
    ):
        governed.must(change.request(guarded), payer, guarded)
        assert lamports(governed, key) < before
        governed.later(WEEK + DAY)
        governed.must(end, payer, by)
        assert lamports(governed, key) == before
        governed.must(min_delay(WEEK + DAY).at_once(guarded), payer, guarded)


def lamports(ledger: Ledger, address: Pubkey) -> int:
    account = ledger.svm.get_account(address)
    assert account is not None
    return account.lamports


@pytest.mark.parametrize("sent", [1, 10**9])
def test_lamports_sent_ahead_do_not_block_a_request(
    governed: Ledger, guarded: Keypair, sent: int
) -> None:
    change, key = min_delay(0), guarded.pubkey()
    governed.put(change.address(key), SYSTEM, b"", sent)
    governed.must(change.request(guarded), guarded)
    governed.later(WEEK + DAY)
    governed.must(change.apply(guarded), guarded)
    assert governed.vault(key)["min_withdraw_delay_seconds"] == 0


def test_the_owner_who_lost_a_signer_recovers_alone(
    governed: Ledger, owner: Keypair, cosigners: list[Keypair]
) -> None:
    assert len(cosigners) == 3
    off = multisig([], 0)
    governed.must(off.request(owner), owner)
    refused(governed, owner.pubkey(), withdraw(owner.pubkey(), 1_000), owner, error="Unauthorized")
    governed.later(WEEK)
    governed.must(off.apply(owner), owner)
    governed.must(withdraw(owner.pubkey(), 1_000), owner)


def test_a_request_made_without_effect_is_refused_when_it_is_made(
    governed: Ledger, guarded: Keypair
) -> None:
    """The list took the wallet with the signers' help, before the request was ripe."""
    change, key = whitelisted(FRIEND.pubkey()), guarded.pubkey()
    governed.must(change.request(guarded), guarded)
    governed.change_vault(key, withdraw_whitelist=[FRIEND.pubkey()])
    governed.later(WEEK + DAY)
    refused(governed, key, change.apply(guarded), guarded, error="AlreadyExists")
    governed.must(change.cancel(key, by=guarded), guarded)


# Cancelling


def test_the_owner_or_any_one_signer_cancels(
    governed: Ledger, guarded: Keypair, cosigners: list[Keypair]
) -> None:
    change, key = multisig([NEW], 1), guarded.pubkey()
    for one in (guarded, *cosigners):
        governed.must(change.request(guarded), guarded)
        events = governed.must(change.cancel(key, by=one), one).events
        fields: dict[str, Any] = {"vault": vault_address(key), "owner": key}
        fields |= {"authority": one.pubkey(), "change": (change.variant, change.fields)}
        assert events == (("GuardChangeCancelledEvent", fields),)
        refused(governed, key, change.cancel(key, by=one), one, error="AccountNotInitialized")
        governed.later(WEEK + DAY)
        refused(governed, key, change.apply(guarded), guarded, error="AccountNotInitialized")


def test_nobody_else_cancels(governed: Ledger, guarded: Keypair, governance: Keypair) -> None:
    change, key, delegate = min_delay(0), guarded.pubkey(), governed.wallet()
    governed.must(build("add_delegate", key, delegate=delegate.pubkey()), guarded)
    governed.must(change.request(guarded), guarded)
    for other in (delegate, governance, governed.owner()):
        refused(governed, key, change.cancel(key, by=other), other, error="Unauthorized")
    assert change.state(governed, key) is not None


def test_signers_without_a_threshold_cancel_nothing(governed: Ledger, owner: Keypair) -> None:
    noted = governed.wallet()
    governed.must(multisig([noted], 0).at_once(owner), owner)
    governed.must(min_delay(60).at_once(owner), owner)
    change = min_delay(0)
    governed.must(change.request(owner), owner)
    theirs = change.cancel(owner.pubkey(), by=noted)
    refused(governed, owner.pubkey(), theirs, noted, error="Unauthorized")


def test_the_owner_of_a_closed_vault_cancels_and_nobody_makes_the_change(
    governed: Ledger, owner: Keypair
) -> None:
    empty = governed.owner()
    key, change = empty.pubkey(), allowance(7)
    governed.later(1)
    governed.must(multisig([owner], 1).at_once(empty), empty)
    governed.must(change.request(empty), empty)
    governed.must(build("close_vault", key), empty)
    governed.later(WEEK)
    assert_refused(governed.send(change.apply(empty), empty), "AccountNotInitialized")
    theirs = change.cancel(key, by=owner)
    assert_refused(governed.send(theirs, owner), "AccountNotInitialized")
    governed.must(change.cancel(key, by=empty), empty)
