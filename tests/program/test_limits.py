"""Time: matured timelocks, requested withdrawals and the rate of the window."""

from typing import Any

import pytest
from solders.keypair import Keypair

from .ledger import START, Ledger, vault_address, withdraw
from .refusals import assert_refused


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=1_000)


def timelock(amount: int, unlock_time: int) -> dict[str, int]:
    return {"amount": amount, "unlock_time": unlock_time}


def request(amount: int, executable_at: int) -> dict[str, int]:
    return {"amount": amount, "requested_at": executable_at - 60, "executable_at": executable_at}


# Timelocks


def test_matured_timelocks_are_released_first_and_reported(
    governed: Ledger, owner: Keypair
) -> None:
    later = timelock(300, START + 1)
    locks = [timelock(200, START), later, timelock(400, START - 10)]
    governed.change_vault(owner.pubkey(), available_balance=100, timelocks=locks)
    outcome = governed.must(withdraw(owner.pubkey(), 650), owner)

    state = governed.vault(owner.pubkey())
    assert state["timelocks"] == [later]
    assert (state["total_balance"], state["available_balance"]) == (350, 50)
    released = {
        "vault": vault_address(owner.pubkey()),
        "owner": owner.pubkey(),
        "released_total": 600,
        "remaining_timelocks": 1,
    }
    assert outcome.events[0] == ("TimelocksReleasedEvent", released)
    assert [name for name, _ in outcome.events[1:]] == ["WithdrawEvent", "TransactionEvent"]
    assert outcome.events[1][1]["new_available_balance"] == 50


def test_a_timelock_holds_until_its_second(governed: Ledger, owner: Keypair) -> None:
    governed.change_vault(
        owner.pubkey(), available_balance=400, timelocks=[timelock(600, START + 100)]
    )
    for seconds in (0, 99):
        governed.set_time(START + seconds)
        outcome = governed.send(withdraw(owner.pubkey(), 401), owner)
        assert_refused(outcome, "InsufficientFunds")
    governed.must(withdraw(owner.pubkey(), 400), owner)
    governed.set_time(START + 100)
    governed.must(withdraw(owner.pubkey(), 600), owner)
    assert governed.vault(owner.pubkey())["timelocks"] == []


def test_without_a_matured_timelock_nothing_is_reported(governed: Ledger, owner: Keypair) -> None:
    governed.change_vault(
        owner.pubkey(), available_balance=400, timelocks=[timelock(600, START + 1)]
    )
    outcome = governed.must(withdraw(owner.pubkey(), 1), owner)
    assert [name for name, _ in outcome.events] == ["WithdrawEvent", "TransactionEvent"]


def test_a_full_vault_releases_all_of_its_timelocks(governed: Ledger, owner: Keypair) -> None:
    everything = full_vault(START)
    governed.change_vault(owner.pubkey(), available_balance=1_000 - 64, **everything)
    governed.must(withdraw(owner.pubkey(), 1_000), owner)
    state = governed.vault(owner.pubkey())
    assert state["timelocks"] == []
    assert state["total_balance"] == 0
    kept = {name: value for name, value in everything.items() if name != "timelocks"}
    assert {name: state[name] for name in kept} == kept


def full_vault(unlock_time: int) -> dict[str, Any]:
    """Every vector at its capacity, every later field with a value of its own."""
    return {
        "multisig_signers": [Keypair().pubkey() for _ in range(10)],
        "delegates": [Keypair().pubkey() for _ in range(16)],
        "timelocks": [timelock(1, unlock_time + number) for number in range(-63, 1)],
        "pending_withdrawals": [request(number + 1, START + number) for number in range(64)],
        "withdraw_whitelist": [Keypair().pubkey() for _ in range(32)],
        "rate_window_seconds": 0,
        "rate_limit_amount": 77,
        "last_withdrawal_window_start": START - 5,
        "withdrawn_in_window": 11,
        "_reserved": bytes(range(64)),
    }


# Requests


def delayed(governed: Ledger, owner: Keypair, *requests: dict[str, int]) -> None:
    governed.change_vault(
        owner.pubkey(), min_withdraw_delay_seconds=60, pending_withdrawals=list(requests)
    )


def test_with_a_delay_nothing_leaves_without_a_request(governed: Ledger, owner: Keypair) -> None:
    delayed(governed, owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Unauthorized")


def test_a_request_opens_at_its_second_for_its_amount(governed: Ledger, owner: Keypair) -> None:
    delayed(governed, owner, request(300, START + 60))
    governed.set_time(START + 59)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Unauthorized")
    governed.set_time(START + 60)
    assert_refused(governed.send(withdraw(owner.pubkey(), 301), owner), "Unauthorized")
    governed.must(withdraw(owner.pubkey(), 300), owner)
    assert governed.vault(owner.pubkey())["pending_withdrawals"] == []
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Unauthorized")


def test_a_request_is_used_up_in_parts(governed: Ledger, owner: Keypair) -> None:
    delayed(governed, owner, request(300, START))
    governed.must(withdraw(owner.pubkey(), 100), owner)
    assert governed.vault(owner.pubkey())["pending_withdrawals"] == [request(200, START)]
    governed.must(withdraw(owner.pubkey(), 199), owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 2), owner), "Unauthorized")
    governed.must(withdraw(owner.pubkey(), 1), owner)


def test_the_oldest_matured_requests_are_used_first(governed: Ledger, owner: Keypair) -> None:
    waiting = request(500, START + 1)
    delayed(
        governed,
        owner,
        request(100, START - 9),
        waiting,
        request(50, START - 5),
        request(80, START),
    )
    governed.must(withdraw(owner.pubkey(), 160), owner)
    left = governed.vault(owner.pubkey())["pending_withdrawals"]
    assert left == [waiting, request(70, START)]
    assert_refused(governed.send(withdraw(owner.pubkey(), 71), owner), "Unauthorized")


def test_a_request_gives_no_money_that_is_not_there(governed: Ledger, owner: Keypair) -> None:
    delayed(governed, owner, request(5_000, START))
    assert_refused(governed.send(withdraw(owner.pubkey(), 1_001), owner), "InsufficientFunds")


def test_without_a_delay_requests_are_left_alone(governed: Ledger, owner: Keypair) -> None:
    left = [request(5, START - 1)]
    governed.change_vault(owner.pubkey(), pending_withdrawals=left)
    governed.must(withdraw(owner.pubkey(), 100), owner)
    assert governed.vault(owner.pubkey())["pending_withdrawals"] == left


# Rate


def limited(governed: Ledger, owner: Keypair, **window: int) -> None:
    state = {"rate_window_seconds": 100, "rate_limit_amount": 300} | window
    governed.change_vault(owner.pubkey(), **state)


def test_a_window_lets_out_its_limit_and_no_more(governed: Ledger, owner: Keypair) -> None:
    limited(governed, owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 301), owner), "Unauthorized")
    governed.must(withdraw(owner.pubkey(), 200), owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 101), owner), "Unauthorized")
    governed.must(withdraw(owner.pubkey(), 100), owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Unauthorized")
    state = governed.vault(owner.pubkey())
    assert state["withdrawn_in_window"] == 300
    assert state["last_withdrawal_window_start"] == START


def test_a_new_window_begins_when_the_old_one_is_over(governed: Ledger, owner: Keypair) -> None:
    limited(governed, owner)
    governed.must(withdraw(owner.pubkey(), 300), owner)
    governed.set_time(START + 99)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Unauthorized")
    governed.set_time(START + 100)
    governed.must(withdraw(owner.pubkey(), 250), owner)
    state = governed.vault(owner.pubkey())
    assert state["withdrawn_in_window"] == 250
    assert state["last_withdrawal_window_start"] == START + 100


def test_a_clock_that_goes_back_opens_no_window(governed: Ledger, owner: Keypair) -> None:
    limited(governed, owner, last_withdrawal_window_start=START + 500, withdrawn_in_window=300)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Unauthorized")


def test_a_window_sum_that_would_wrap_is_refused(governed: Ledger, owner: Keypair) -> None:
    limited(
        governed,
        owner,
        rate_limit_amount=2**64 - 1,
        last_withdrawal_window_start=START,
        withdrawn_in_window=2**64 - 1,
    )
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Overflow")


@pytest.mark.parametrize("unset", ["rate_window_seconds", "rate_limit_amount"])
def test_half_a_rate_limit_is_none(governed: Ledger, owner: Keypair, unset: str) -> None:
    limited(governed, owner, **{unset: 0})
    governed.must(withdraw(owner.pubkey(), 1_000), owner)
    assert governed.vault(owner.pubkey())["withdrawn_in_window"] == 0


def test_delay_and_rate_hold_together(governed: Ledger, owner: Keypair) -> None:
    delayed(governed, owner, request(500, START))
    limited(governed, owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 301), owner), "Unauthorized")
    governed.must(withdraw(owner.pubkey(), 300), owner)
    governed.set_time(START + 100)
    assert_refused(governed.send(withdraw(owner.pubkey(), 201), owner), "Unauthorized")
    governed.must(withdraw(owner.pubkey(), 200), owner)
