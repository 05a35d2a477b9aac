"""The withdrawal rate limit: the amount that a window allows, and when the window ends."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Ledger, withdraw


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=1_000)


def limit(owner: Keypair, window_seconds: int = 100, max_amount: int = 300) -> Instruction:
    return build(
        "set_withdraw_rate_limit",
        owner.pubkey(),
        window_seconds=window_seconds,
        max_amount=max_amount,
    )


def test_a_window_allows_its_limit_and_no_more(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.must(limit(owner), owner)
    refused(governed, key, withdraw(key, 301), owner, error="Unauthorized")
    changes(
        governed,
        key,
        withdraw(key, 200),
        owner,
        total_balance=800,
        available_balance=800,
        total_withdrawn=200,
        withdrawn_in_window=200,
    )
    refused(governed, key, withdraw(key, 101), owner, error="Unauthorized")
    governed.must(withdraw(key, 100), owner)
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")
    state = governed.vault(key)
    assert state["withdrawn_in_window"] == 300
    assert state["last_withdrawal_window_start"] == START


def test_a_new_window_begins_when_the_old_one_is_over(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.must(limit(owner), owner)
    governed.must(withdraw(key, 300), owner)
    governed.set_time(START + 99)
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")
    governed.set_time(START + 100)
    governed.must(withdraw(key, 250), owner)
    state = governed.vault(key)
    assert state["withdrawn_in_window"] == 250
    assert state["last_withdrawal_window_start"] == START + 100


def test_a_window_begins_with_a_withdrawal_not_with_the_end_of_the_last(
    governed: Ledger, owner: Keypair
) -> None:
    governed.must(limit(owner), owner)
    governed.set_time(START + 250)
    governed.must(withdraw(owner.pubkey(), 300), owner)
    assert governed.vault(owner.pubkey())["last_withdrawal_window_start"] == START + 250


def test_a_clock_that_goes_backwards_starts_no_window(governed: Ledger, owner: Keypair) -> None:
    governed.set_time(START + 500)
    governed.must(limit(owner), owner)
    governed.must(withdraw(owner.pubkey(), 300), owner)
    governed.set_time(START)
    refused(governed, owner.pubkey(), withdraw(owner.pubkey(), 1), owner, error="Unauthorized")


def test_a_window_sum_that_would_wrap_is_refused(governed: Ledger, owner: Keypair) -> None:
    governed.must(limit(owner, max_amount=2**64 - 1), owner)
    # No vault has ever paid out so much: the sum of the window is written directly.
    governed.change_vault(owner.pubkey(), withdrawn_in_window=2**64 - 1)
    refused(governed, owner.pubkey(), withdraw(owner.pubkey(), 1), owner, error="Overflow")


@pytest.mark.parametrize(("window_seconds", "max_amount"), [(0, 300), (100, 0), (0, 0)])
def test_a_rate_limit_needs_both_a_window_and_an_amount(
    governed: Ledger, owner: Keypair, window_seconds: int, max_amount: int
) -> None:
    governed.must(limit(owner, window_seconds, max_amount), owner)
    governed.must(withdraw(owner.pubkey(), 1_000), owner)
    assert governed.vault(owner.pubkey())["withdrawn_in_window"] == 0


def test_delay_and_rate_limit_apply_together(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.must(build("set_withdraw_min_delay", key, seconds=60), owner)
    governed.must(build("request_withdraw", key, amount=500), owner)
    governed.must(limit(owner), owner)
    governed.set_time(START + 60)
    refused(governed, key, withdraw(key, 301), owner, error="Unauthorized")
    governed.must(withdraw(key, 300), owner)
    governed.set_time(START + 100)
    refused(governed, key, withdraw(key, 201), owner, error="Unauthorized")
    governed.must(withdraw(key, 200), owner)
    governed.set_time(START + 200)
    refused(governed, key, withdraw(key, 1), owner, error="Unauthorized")
