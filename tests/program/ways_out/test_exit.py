"""An owner's exit: a week's wait, then a week in which unclaimed and available tokens are free."""

from collections.abc import Sequence

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import changes, refused
from tests.program.harness.full_vault import made_up
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    START,
    Event,
    Ledger,
    govern,
    readonly,
    signer,
    summary_address,
    vault_address,
    without,
)
from tests.program.harness.positions import (
    close_position,
    open_position,
    trader,
    with_position_manager,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet

WEEK = 7 * 24 * 60 * 60
EXIT = START + WEEK
I64, U64 = 2**63 - 1, 2**64 - 1


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    return with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    """The owner of 1,000 in a vault, 600 of it locked for a position."""
    owner = trader(traded, deposited=1_000)
    traded.must(open_position(owner.pubkey(), 600), owner)
    return owner


def request_exit(owner: Keypair, *cosigners: Keypair) -> Instruction:
    remaining = [signer(each.pubkey()) for each in cosigners]
    return build("request_exit", owner.pubkey(), remaining=remaining)


def release(owner: Keypair, summaries: Sequence[AccountMeta] | None = None) -> Instruction:
    """Return a release of what the position manager does not claim, or with these summaries."""
    ours = [readonly(summary_address(vault_address(owner.pubkey())))]
    remaining = ours if summaries is None else summaries
    return build("release_unclaimed", owner.pubkey(), remaining=remaining)


def rescue(owner: Keypair, amount: int) -> Instruction:
    return build("emergency_withdraw", owner.pubkey(), amount=amount)


def claims(ledger: Ledger, owner: Keypair, amount: int, *, program: Pubkey | None = None) -> None:
    """Write the summary of a program that claims `amount`."""
    ledger.put_summary(
        owner.pubkey(), program=program or POSITION_MANAGER, open_positions=1, locked_amount=amount
    )


def leave(ledger: Ledger, owner: Keypair) -> None:
    """Request an exit, and wait until it is valid."""
    ledger.must(request_exit(owner), owner)
    ledger.set_time(EXIT)


def released(owner: Keypair, amount: int, locked: int, available: int) -> Event:
    fields = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey(), "amount": amount}
    fields |= {"new_locked_balance": locked, "new_available_balance": available}
    return "CollateralReleasedEvent", fields


# When


def test_an_exit_takes_a_week(traded: Ledger, owner: Keypair) -> None:
    events = changes(traded, owner.pubkey(), request_exit(owner), owner, exit_at=EXIT)
    named = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey()}
    assert events == (("ExitRequestedEvent", named | {"exit_at": EXIT}),)


@pytest.mark.parametrize(
    ("seconds", "valid"),
    [(-WEEK, False), (-1, False), (0, True), (1, True), (WEEK, True), (WEEK + 1, False)],
)
def test_an_exit_is_valid_for_a_week(
    traded: Ledger, owner: Keypair, seconds: int, valid: bool
) -> None:
    claims(traded, owner, 500)
    traded.must(request_exit(owner), owner)
    traded.set_time(EXIT + seconds)
    if valid:
        traded.must(release(owner), owner)
        traded.must(rescue(owner, 1), owner)
    else:
        refused(traded, owner.pubkey(), release(owner), owner, error="NotExecutableNow")
        refused(traded, owner.pubkey(), rescue(owner, 1), owner, error="OpenPositionsExist")


def test_without_a_request_there_is_no_exit(traded: Ledger, owner: Keypair) -> None:
    """Zero means that none was requested, even while the clock is in its first week."""
    claims(traded, owner, 500)
    for now in (START, 0, WEEK):
        traded.set_time(now)
        refused(traded, owner.pubkey(), release(owner), owner, error="NotExecutableNow")
        refused(traded, owner.pubkey(), rescue(owner, 1), owner, error="OpenPositionsExist")


def test_another_request_starts_the_week_again(traded: Ledger, owner: Keypair) -> None:
    claims(traded, owner, 500)
    leave(traded, owner)
    changes(traded, owner.pubkey(), request_exit(owner), owner, exit_at=EXIT + WEEK)
    refused(traded, owner.pubkey(), release(owner), owner, error="NotExecutableNow")
    traded.set_time(EXIT + WEEK)
    traded.must(release(owner), owner)


def test_an_expired_exit_can_be_requested_again(traded: Ledger, owner: Keypair) -> None:
    leave(traded, owner)
    traded.set_time(EXIT + 10 * WEEK)
    refused(traded, owner.pubkey(), rescue(owner, 1), owner, error="OpenPositionsExist")
    traded.must(request_exit(owner), owner)
    traded.set_time(EXIT + 11 * WEEK)
    traded.must(rescue(owner, 1), owner)


def test_an_exit_beyond_the_highest_timestamp_is_refused(traded: Ledger, owner: Keypair) -> None:
    traded.set_time(I64 - WEEK + 1)
    refused(traded, owner.pubkey(), request_exit(owner), owner, error="Overflow")
    traded.set_time(I64 - WEEK)
    traded.must(request_exit(owner), owner)
    traded.set_time(I64)
    traded.must(rescue(owner, 1), owner)


# Who


def test_only_the_owner_requests_an_exit_and_releases(traded: Ledger, owner: Keypair) -> None:
    delegate, payer = traded.wallet(), traded.wallet()
    traded.must(build("add_delegate", owner.pubkey(), delegate=delegate.pubkey()), owner)
    leave(traded, owner)
    for name in ("request_exit", "release_unclaimed"):
        theirs = build(name, owner.pubkey(), accounts={"owner": delegate.pubkey()})
        refused(traded, owner.pubkey(), theirs, delegate, error="ConstraintSeeds")
        unsigned = without(build(name, owner.pubkey()), signer=0)
        refused(traded, owner.pubkey(), unsigned, payer, error="AccountNotSigner")


def test_under_multisig_the_threshold_requests_an_exit(traded: Ledger, owner: Keypair) -> None:
    one, other = traded.wallet(), traded.wallet()
    keys = [owner.pubkey(), one.pubkey(), other.pubkey()]
    traded.must(build("set_vault_multisig", owner.pubkey(), signers=keys, threshold=2), owner)
    refused(traded, owner.pubkey(), request_exit(owner), owner, error="Unauthorized")
    traded.must(request_exit(owner, other), owner, other)
    claims(traded, owner, 500)
    traded.set_time(EXIT)
    traded.must(release(owner), owner)


# What no position claims


@pytest.mark.parametrize(("claimed", "free"), [(0, 600), (1, 599), (599, 1)])
def test_what_no_summary_claims_becomes_available(
    traded: Ledger, owner: Keypair, claimed: int, free: int
) -> None:
    leave(traded, owner)
    claims(traded, owner, claimed)
    events = changes(
        traded,
        owner.pubkey(),
        release(owner),
        owner,
        locked_balance=claimed,
        available_balance=400 + free,
    )
    assert events == (released(owner, free, claimed, 400 + free),)
    refused(traded, owner.pubkey(), release(owner), owner, error="NotFound")


@pytest.mark.parametrize("claimed", [600, 601, U64])
def test_what_is_claimed_stays_locked(traded: Ledger, owner: Keypair, claimed: int) -> None:
    leave(traded, owner)
    claims(traded, owner, claimed)
    refused(traded, owner.pubkey(), release(owner), owner, error="NotFound")


def test_a_position_that_is_opened_during_an_exit_stays_locked(
    traded: Ledger, owner: Keypair
) -> None:
    leave(traded, owner)
    traded.must(open_position(owner.pubkey(), 100), owner)
    refused(traded, owner.pubkey(), release(owner), owner, error="NotFound")
    traded.must(rescue(owner, 300), owner)
    refused(traded, owner.pubkey(), rescue(owner, 1), owner, error="InsufficientFunds")
    traded.must(close_position(owner.pubkey(), 700), owner)
    assert traded.vault(owner.pubkey())["available_balance"] == 700


def test_the_claims_of_all_programs_count(traded: Ledger, owner: Keypair) -> None:
    programs = [POSITION_MANAGER, *made_up(3, 7)]
    traded.change_authority(authorized_programs=programs)
    leave(traded, owner)
    claims(traded, owner, 100)
    claims(traded, owner, 20, program=programs[1])
    claims(traded, owner, 3, program=programs[3])
    addresses = [summary_address(vault_address(owner.pubkey()), each) for each in programs]
    summaries = [readonly(each) for each in addresses]
    changes(
        traded,
        owner.pubkey(),
        release(owner, summaries),
        owner,
        locked_balance=123,
        available_balance=877,
    )


def test_claims_whose_sum_does_not_fit_claim_everything(traded: Ledger, owner: Keypair) -> None:
    (other,) = made_up(1, 7)
    traded.change_authority(authorized_programs=[POSITION_MANAGER, other])
    leave(traded, owner)
    claims(traded, owner, U64)
    claims(traded, owner, 2, program=other)
    vault = vault_address(owner.pubkey())
    summaries = [readonly(summary_address(vault, each)) for each in (POSITION_MANAGER, other)]
    refused(traded, owner.pubkey(), release(owner, summaries), owner, error="NotFound")


def test_every_program_must_show_its_own_summary_of_this_vault(
    traded: Ledger, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    (other,) = made_up(1, 7)
    stranger = trader(traded, deposited=1)
    foreign = Keypair().pubkey()
    traded.change_authority(authorized_programs=[POSITION_MANAGER, other])
    leave(traded, owner)
    claims(traded, owner, 100)
    first, second = readonly(summary_address(vault)), readonly(summary_address(vault, other))
    theirs = readonly(summary_address(vault_address(stranger.pubkey())))
    made_by_another = traded.put_summary(key, program=foreign)
    for few in ([], [first]):
        short = release(owner, few)
        refused(traded, key, short, owner, error="PositionSummaryMissing")
    for wrong in (
        [second, first],
        [first, first],
        [second, second],
        [theirs, second],
        [readonly(made_by_another), second],
        [readonly(vault), second],
        [readonly(Keypair().pubkey()), second],
        [first, readonly(Keypair().pubkey())],
    ):
        refused(traded, key, release(owner, wrong), owner, error="PositionSummaryInvalid")
    traded.must(release(owner, [first, second]), owner)


def test_a_program_that_locks_without_a_summary_claims_nothing(
    governed: Ledger, governance: Keypair
) -> None:
    with_puppet(governed)
    add = govern("add_authorized_program", governance.pubkey(), value=PUPPET)
    governed.must(add, governance)
    owner = governed.owner(deposited=1_000)
    accounts = {"caller_program": PUPPET}
    lock = build("lock_collateral", owner.pubkey(), accounts=accounts, amount=1_000)
    governed.must(puppet_call(governed, lock), owner)
    leave(governed, owner)
    vault = vault_address(owner.pubkey())
    governed.must(release(owner, [readonly(summary_address(vault, PUPPET))]), owner)
    assert governed.vault(owner.pubkey())["available_balance"] == 1_000


# The owner's emergency withdrawal


def test_a_valid_exit_reaches_only_what_is_available(traded: Ledger, owner: Keypair) -> None:
    leave(traded, owner)
    refused(traded, owner.pubkey(), rescue(owner, 401), owner, error="InsufficientFunds")
    changes(
        traded,
        owner.pubkey(),
        rescue(owner, 400),
        owner,
        total_balance=600,
        available_balance=0,
        total_withdrawn=400,
    )
    assert traded.tokens(owner.pubkey()) == 400


def test_a_valid_exit_does_not_open_ordinary_withdrawals(traded: Ledger, owner: Keypair) -> None:
    leave(traded, owner)
    summary = readonly(summary_address(vault_address(owner.pubkey())))
    ordinary = build("withdraw", owner.pubkey(), remaining=[summary], amount=1)
    refused(traded, owner.pubkey(), ordinary, owner, error="OpenPositionsExist")
