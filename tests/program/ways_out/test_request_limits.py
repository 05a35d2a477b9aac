"""Withdrawal requests that do not lock their owner out: bounded, expiring, cancelled."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Event, Ledger, vault_address, withdraw

DELAY = 60
WEEK = 7 * 24 * 60 * 60
I64, U64 = 2**63 - 1, 2**64 - 1


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of a vault whose withdrawals must wait for a minute."""
    owner = governed.owner(deposited=1_000)
    governed.must(build("set_withdraw_min_delay", owner.pubkey(), seconds=DELAY), owner)
    return owner


def ask(owner: Keypair, amount: int) -> Instruction:
    return build("request_withdraw", owner.pubkey(), amount=amount)


def cancel(owner: Keypair, amount: int, executable_at: int) -> Instruction:
    key = owner.pubkey()
    return build("cancel_withdraw_request", key, amount=amount, executable_at=executable_at)


def request(amount: int, requested_at: int) -> dict[str, int]:
    times = {"requested_at": requested_at, "executable_at": requested_at + DELAY}
    return {"amount": amount} | times


def cancelled(owner: Keypair, amount: int, executable_at: int, left: int) -> Event:
    fields = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey(), "amount": amount}
    fields |= {"executable_at": executable_at, "remaining_pending": left}
    return "WithdrawRequestCancelledEvent", fields


# What a request may be for


def test_all_requests_together_are_at_most_the_balance(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    for amount in (1_001, U64):
        refused(governed, key, ask(owner, amount), owner, error="InsufficientFunds")
    governed.must(ask(owner, 600), owner)
    for amount in (401, U64 - 600, U64 - 599, U64):
        refused(governed, key, ask(owner, amount), owner, error="InsufficientFunds")
    changes(
        governed,
        key,
        ask(owner, 400),
        owner,
        requested_total=1_000,
        pending_withdrawals=[request(600, START), request(400, START)],
    )
    refused(governed, key, ask(owner, 1), owner, error="InsufficientFunds")


def test_the_balance_counts_what_cannot_be_withdrawn_now(governed: Ledger, owner: Keypair) -> None:
    lock = build("schedule_timelock", owner.pubkey(), amount=900, duration_seconds=DELAY)
    governed.must(lock, owner)
    governed.must(ask(owner, 1_000), owner)
    governed.set_time(START + DELAY)
    governed.must(withdraw(owner.pubkey(), 1_000), owner)


def test_the_sum_follows_what_is_used(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    for amount in (300, 500):
        governed.must(ask(owner, amount), owner)
    governed.set_time(START + DELAY)
    for amount, left in ((100, 700), (250, 450), (450, 0)):
        governed.must(withdraw(key, amount), owner)
        assert governed.vault(key)["requested_total"] == left
    assert governed.vault(key)["pending_withdrawals"] == []


# A full list


def test_a_full_list_of_stale_requests_does_not_lock_the_owner_out(
    governed: Ledger, owner: Keypair
) -> None:
    """A thief has filled it, before there was a bound, with requests for the whole balance."""
    key = owner.pubkey()
    governed.change_vault(key, pending_withdrawals=[request(1_000, START)] * 64)
    refused(governed, key, ask(owner, 1_000), owner, error="InsufficientFunds")
    governed.set_time(START + DELAY + WEEK)
    refused(governed, key, ask(owner, 1_000), owner, error="InsufficientFunds")

    stale = START + DELAY + WEEK + 1
    governed.set_time(stale)
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")
    changes(
        governed,
        key,
        ask(owner, 1_000),
        owner,
        pending_withdrawals=[request(1_000, stale)],
        requested_total=1_000,
    )
    governed.set_time(stale + DELAY)
    governed.must(withdraw(key, 1_000), owner)
    assert governed.tokens(key) == 1_000


def test_of_requests_for_one_amount_that_of_the_given_time_is_cancelled(
    governed: Ledger, owner: Keypair
) -> None:
    for at in (START, START + 5):
        governed.set_time(at)
        governed.must(ask(owner, 300), owner)
    governed.must(cancel(owner, 300, START + 5 + DELAY), owner)
    assert governed.vault(owner.pubkey())["pending_withdrawals"] == [request(300, START)]


def test_the_owner_frees_a_full_list_at_once(governed: Ledger, owner: Keypair) -> None:
    for _ in range(64):
        governed.must(ask(owner, 1), owner)
    refused(governed, owner.pubkey(), ask(owner, 1), owner, error="Overflow")
    governed.must(cancel(owner, 1, START + DELAY), owner)
    governed.must(ask(owner, 1), owner)
    assert governed.vault(owner.pubkey())["requested_total"] == 64


# Expiry


@pytest.mark.parametrize(("seconds", "usable"), [(WEEK, True), (WEEK + 1, False)])
def test_a_request_expires_a_week_after_it_may_be_used(
    governed: Ledger, owner: Keypair, seconds: int, usable: bool
) -> None:
    key = owner.pubkey()
    governed.must(ask(owner, 300), owner)
    governed.set_time(START + DELAY + seconds)
    if usable:
        governed.must(withdraw(key, 300), owner)
    else:
        refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")


def test_a_withdrawal_passes_over_expired_requests(governed: Ledger, owner: Keypair) -> None:
    key, later = owner.pubkey(), START + WEEK
    governed.must(ask(owner, 100), owner)
    governed.set_time(START + 2)
    governed.must(ask(owner, 200), owner)
    governed.set_time(later)
    governed.must(ask(owner, 300), owner)
    governed.set_time(later + DELAY + 1)
    refused(governed, key, withdraw(key, 501), owner, error="Unauthorized")
    changes(
        governed,
        key,
        withdraw(key, 450),
        owner,
        total_balance=550,
        available_balance=550,
        total_withdrawn=450,
        pending_withdrawals=[request(100, START), request(50, later)],
        requested_total=150,
    )


def test_requests_that_are_passed_over_keep_their_order(governed: Ledger, owner: Keypair) -> None:
    key, old = owner.pubkey(), START - DELAY
    valid, expired, early = old, old - WEEK - 1, old + 1
    amounts = {100: valid, 200: expired, 210: valid, 300: early, 50: valid, 60: valid, 40: early}
    requests = [request(amount, at) for amount, at in amounts.items()]
    governed.change_vault(key, pending_withdrawals=requests, requested_total=960)
    changes(
        governed,
        key,
        withdraw(key, 380),
        owner,
        total_balance=620,
        available_balance=620,
        total_withdrawn=380,
        requested_total=580,
        pending_withdrawals=[requests[1], requests[3], request(40, valid), requests[6]],
    )


def test_expired_requests_make_room_only_when_room_is_needed(
    governed: Ledger, owner: Keypair
) -> None:
    key, later = owner.pubkey(), START + DELAY + WEEK + 1
    governed.must(ask(owner, 700), owner)
    governed.set_time(START + 1)
    governed.must(ask(owner, 100), owner)
    governed.set_time(later)
    governed.must(ask(owner, 200), owner)
    kept = [request(700, START), request(100, START + 1), request(200, later)]
    assert governed.vault(key)["pending_withdrawals"] == kept
    changes(
        governed,
        key,
        ask(owner, 1),
        owner,
        pending_withdrawals=[*kept[1:], request(1, later)],
        requested_total=301,
    )


def test_a_refused_request_purges_nothing(governed: Ledger, owner: Keypair) -> None:
    governed.must(ask(owner, 700), owner)
    governed.set_time(START + DELAY + WEEK + 1)
    refused(governed, owner.pubkey(), ask(owner, 1_001), owner, error="InsufficientFunds")


def test_a_request_at_the_end_of_time_does_not_overflow(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.must(build("set_withdraw_min_delay", key, seconds=I64 - START), owner)
    governed.must(ask(owner, 1_000), owner)
    refused(governed, key, ask(owner, 1), owner, error="InsufficientFunds")
    governed.set_time(I64)
    governed.must(withdraw(key, 1_000), owner)


# Cancelling


def test_the_owner_cancels_a_request(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    for amount, at in ((100, START), (200, START), (200, START + 1), (200, START)):
        governed.set_time(at)
        governed.must(ask(owner, amount), owner)
    events = changes(
        governed,
        key,
        cancel(owner, 200, START + DELAY),
        owner,
        pending_withdrawals=[request(100, START), request(200, START + 1), request(200, START)],
        requested_total=500,
    )
    assert events == (cancelled(owner, 200, START + DELAY, 3),)


def test_a_request_that_was_used_in_part_is_cancelled_by_what_is_left(
    governed: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(ask(owner, 300), owner)
    governed.set_time(START + DELAY)
    governed.must(withdraw(key, 100), owner)
    whole = cancel(owner, 300, START + DELAY)
    refused(governed, key, whole, owner, error="NotFound")
    rest = cancel(owner, 200, START + DELAY)
    changes(governed, key, rest, owner, pending_withdrawals=[], requested_total=0)
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")


def test_an_expired_request_is_cancelled_too(governed: Ledger, owner: Keypair) -> None:
    governed.must(ask(owner, 300), owner)
    governed.set_time(START + DELAY + WEEK + 1)
    governed.must(cancel(owner, 300, START + DELAY), owner)
    assert governed.vault(owner.pubkey())["pending_withdrawals"] == []


def test_nobody_else_cancels_a_request(governed: Ledger, owner: Keypair) -> None:
    key, delegate = owner.pubkey(), governed.wallet()
    governed.must(build("add_delegate", key, delegate=delegate.pubkey()), owner)
    governed.must(ask(owner, 300), owner)
    theirs = build(
        "cancel_withdraw_request",
        key,
        accounts={"owner": delegate.pubkey()},
        amount=300,
        executable_at=START + DELAY,
    )
    refused(governed, key, theirs, delegate, error="ConstraintSeeds")


# Accounts of before the sum was kept


def test_the_sum_of_an_old_account_never_wraps(governed: Ledger, owner: Keypair) -> None:
    """The sum then counts too little, so the bound is wider until the old requests are gone."""
    key, old = owner.pubkey(), START - DELAY
    requests = [request(400, old), request(300, old), request(200, old)]
    governed.change_vault(key, pending_withdrawals=requests)
    governed.must(ask(owner, 1_000), owner)
    governed.must(withdraw(key, 150), owner)
    assert governed.vault(key)["requested_total"] == 850
    governed.must(cancel(owner, 300, START), owner)
    governed.must(cancel(owner, 250, START), owner)
    assert governed.vault(key)["requested_total"] == 300
    governed.must(cancel(owner, 1_000, START + DELAY), owner)
    assert governed.vault(key)["requested_total"] == 0
    governed.must(withdraw(key, 100), owner)
    assert governed.vault(key)["requested_total"] == 0
    assert governed.vault(key)["pending_withdrawals"] == [request(100, old)]


def test_a_purge_counts_old_requests_whose_sum_does_not_fit(
    governed: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    requests = [request(U64, START), request(U64, START), request(5, -(2**63))]
    governed.change_vault(key, pending_withdrawals=requests, requested_total=1_000)
    refused(governed, key, ask(owner, 1), owner, error="InsufficientFunds")
    governed.must(cancel(owner, U64, START + DELAY), owner)
    assert governed.vault(key)["requested_total"] == 0
    governed.must(cancel(owner, U64, START + DELAY), owner)
    governed.must(ask(owner, 1_000), owner)
