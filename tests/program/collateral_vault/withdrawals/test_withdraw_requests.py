"""Withdrawal requests: what a request allows, and from when."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Ledger, add_delegate, vault_address, withdraw

DELAY = 60


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of a vault whose withdrawals must wait for a minute."""
    owner = governed.owner(deposited=1_000)
    governed.must(delay(owner, DELAY), owner)
    return owner


def delay(owner: Keypair, seconds: int) -> Instruction:
    return build("set_withdraw_min_delay", owner.pubkey(), seconds=seconds)


def shorten(ledger: Ledger, owner: Keypair, seconds: int) -> None:
    """Write a shorter delay, for which the owner would have to wait."""
    ledger.change_vault(owner.pubkey(), min_withdraw_delay_seconds=seconds)


def ask(owner: Keypair, amount: int) -> Instruction:
    return build("request_withdraw", owner.pubkey(), amount=amount)


def pending(amount: int, requested_at: int, *, wait: int = DELAY) -> dict[str, int]:
    times = {"requested_at": requested_at, "executable_at": requested_at + wait}
    return {"amount": amount} | times


def asked(ledger: Ledger, owner: Keypair, *requests: tuple[int, int]) -> None:
    """Request each amount at its number of seconds after START."""
    for amount, seconds in requests:
        ledger.set_time(START + seconds)
        ledger.must(ask(owner, amount), owner)


def left(ledger: Ledger, owner: Keypair) -> list[dict[str, int]]:
    requests: list[dict[str, int]] = ledger.vault(owner.pubkey())["pending_withdrawals"]
    return requests


# Requesting


def test_a_request_is_stored_and_reserves_nothing(governed: Ledger, owner: Keypair) -> None:
    key, noted, total = owner.pubkey(), [], 0
    for amount, at in ((300, START), (700, START + 9)):
        governed.set_time(at)
        noted.append(pending(amount, at))
        total += amount
        events = changes(
            governed,
            key,
            ask(owner, amount),
            owner,
            pending_withdrawals=list(noted),
            requested_total=total,
        )
        fields = {"vault": vault_address(key), "owner": key, "remaining_pending": len(noted)}
        assert events == (("WithdrawRequestedEvent", fields | noted[-1]),)


def test_a_request_for_nothing_is_refused(governed: Ledger, owner: Keypair) -> None:
    refused(governed, owner.pubkey(), ask(owner, 0), owner, error="InvalidAmount")


def test_without_a_delay_a_request_is_refused(governed: Ledger, owner: Keypair) -> None:
    shorten(governed, owner, 0)
    refused(governed, owner.pubkey(), ask(owner, 1), owner, error="Unauthorized")


def test_a_delay_beyond_the_highest_timestamp_is_refused(governed: Ledger, owner: Keypair) -> None:
    governed.must(delay(owner, 2**63 - START), owner)
    refused(governed, owner.pubkey(), ask(owner, 1), owner, error="Overflow")
    shorten(governed, owner, 2**63 - 1 - START)
    governed.must(ask(owner, 1), owner)


def test_old_requests_whose_sum_does_not_fit_leave_no_room(
    governed: Ledger, owner: Keypair
) -> None:
    """Programs of before the sum was kept set no bound."""
    old = [pending(2**63, START), pending(2**63, START)]
    governed.change_vault(owner.pubkey(), pending_withdrawals=old, requested_total=2**64 - 1)
    refused(governed, owner.pubkey(), ask(owner, 1), owner, error="InsufficientFunds")


# Withdrawing


def test_with_a_delay_nothing_leaves_without_a_request(governed: Ledger, owner: Keypair) -> None:
    delegate = governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    for one in (owner, delegate):
        instruction = withdraw(owner.pubkey(), 1, authority=one.pubkey())
        refused(governed, owner.pubkey(), instruction, one, error="Unauthorized")


def test_a_request_permits_its_amount_from_its_exact_second(
    governed: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    asked(governed, owner, (300, 0))
    governed.set_time(START + DELAY - 1)
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")
    governed.set_time(START + DELAY)
    refused(governed, key, withdraw(key, 301), owner, error="Unauthorized")
    changes(
        governed,
        key,
        withdraw(key, 300),
        owner,
        total_balance=700,
        available_balance=700,
        total_withdrawn=300,
        pending_withdrawals=[],
        requested_total=0,
    )
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")


def test_a_request_is_used_up_in_parts(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    asked(governed, owner, (300, 0))
    governed.set_time(START + DELAY)
    governed.must(withdraw(key, 100), owner)
    assert left(governed, owner) == [pending(200, START)]
    governed.must(withdraw(key, 199), owner)
    refused(governed, key, withdraw(key, 2), owner, error="Unauthorized")
    governed.must(withdraw(key, 1), owner)
    assert left(governed, owner) == []


def test_the_oldest_requests_are_used_first(governed: Ledger, owner: Keypair) -> None:
    asked(governed, owner, (100, 0), (50, 1), (80, 2), (500, 3))
    governed.set_time(START + DELAY + 2)
    governed.must(withdraw(owner.pubkey(), 160), owner)
    assert left(governed, owner) == [pending(70, START + 2), pending(500, START + 3)]
    too_much = withdraw(owner.pubkey(), 71)
    refused(governed, owner.pubkey(), too_much, owner, error="Unauthorized")


def test_a_request_that_has_not_matured_is_skipped(governed: Ledger, owner: Keypair) -> None:
    governed.must(delay(owner, 600), owner)
    asked(governed, owner, (100, 0))
    shorten(governed, owner, DELAY)
    asked(governed, owner, (30, 0))
    governed.set_time(START + DELAY)
    governed.must(withdraw(owner.pubkey(), 20), owner)
    assert left(governed, owner) == [pending(100, START, wait=600), pending(10, START)]


def test_a_delegate_uses_the_owners_request(governed: Ledger, owner: Keypair) -> None:
    delegate = governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    asked(governed, owner, (100, 0))
    governed.set_time(START + DELAY)
    governed.must(withdraw(owner.pubkey(), 40, authority=delegate.pubkey()), delegate)
    assert left(governed, owner) == [pending(60, START)]


def test_a_request_does_not_permit_more_than_the_balance(governed: Ledger, owner: Keypair) -> None:
    asked(governed, owner, (1_000, 0))
    lock = build("schedule_timelock", owner.pubkey(), amount=1, duration_seconds=2 * DELAY)
    governed.must(lock, owner)
    governed.set_time(START + DELAY)
    too_much = withdraw(owner.pubkey(), 1_000)
    refused(governed, owner.pubkey(), too_much, owner, error="InsufficientFunds")


def test_a_shorter_delay_does_not_affect_earlier_requests(governed: Ledger, owner: Keypair) -> None:
    asked(governed, owner, (100, 0))
    shorten(governed, owner, 1)
    governed.set_time(START + DELAY - 1)
    one = withdraw(owner.pubkey(), 1)
    refused(governed, owner.pubkey(), one, owner, error="Unauthorized")


def test_without_a_delay_requests_stay_unused(governed: Ledger, owner: Keypair) -> None:
    asked(governed, owner, (5, 0))
    shorten(governed, owner, 0)
    governed.must(withdraw(owner.pubkey(), 100), owner)
    assert left(governed, owner) == [pending(5, START)]
