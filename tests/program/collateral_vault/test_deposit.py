"""Deposits: the recorded balances, the tokens and the events agree."""

import pytest

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import START, USDT, Ledger, add_delegate, deposit, vault_address
from tests.program.harness.refusals import assert_refused

MAX = 2**64 - 1


def test_a_deposit_moves_tokens_and_balances_alike(ledger: Ledger) -> None:
    owner = ledger.owner(usdt=1_000 * USDT)
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    before = ledger.vault(key)
    outcome = ledger.must(deposit(key, 300 * USDT), owner)

    changed = {"total_balance", "available_balance", "total_deposited"}
    assert ledger.vault(key) == before | dict.fromkeys(changed, 300 * USDT)
    assert ledger.tokens(key) == 700 * USDT
    assert ledger.tokens(vault) == 300 * USDT
    deposited = {
        "vault": vault,
        "owner": key,
        "amount": 300 * USDT,
        "new_total_balance": 300 * USDT,
        "new_available_balance": 300 * USDT,
    }
    recorded = {
        "vault": vault,
        "owner": key,
        "transaction_type": "Deposit",
        "amount": 300 * USDT,
        "timestamp": START,
    }
    assert outcome.events == (("DepositEvent", deposited), ("TransactionEvent", recorded))


def test_deposits_add_up(ledger: Ledger) -> None:
    owner = ledger.owner(usdt=10)
    for amount in (1, 2, 7):
        ledger.must(deposit(owner.pubkey(), amount), owner)
    state = ledger.vault(owner.pubkey())
    assert (state["total_balance"], state["available_balance"]) == (10, 10)
    assert state["total_deposited"] == 10
    assert ledger.tokens(owner.pubkey()) == 0


def test_a_deposit_of_nothing_is_refused(ledger: Ledger) -> None:
    owner = ledger.owner(usdt=1)
    assert_refused(ledger.send(deposit(owner.pubkey(), 0), owner), "InvalidAmount")


def test_a_deposit_beyond_the_wallet_is_refused_by_the_token_program(ledger: Ledger) -> None:
    owner = ledger.owner(usdt=5)
    outcome = ledger.send(deposit(owner.pubkey(), 6), owner)
    assert outcome.error == 1  # SPL Token's InsufficientFunds
    assert ledger.vault(owner.pubkey())["total_balance"] == 0
    assert outcome.events == ()


@pytest.mark.parametrize("full", ["total_balance", "available_balance", "total_deposited"])
def test_a_deposit_that_a_counter_cannot_hold_is_refused(ledger: Ledger, full: str) -> None:
    owner = ledger.owner(usdt=5)
    # So many tokens do not exist: the total is written directly.
    ledger.change_vault(owner.pubkey(), **{full: MAX})
    assert_refused(ledger.send(deposit(owner.pubkey(), 1), owner), "Overflow")


def test_a_delegate_deposits_its_own_tokens(ledger: Ledger) -> None:
    owner, delegate = ledger.owner(), ledger.wallet(usdt=9)
    ledger.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    ledger.must(deposit(owner.pubkey(), 9, authority=delegate.pubkey()), delegate)
    assert ledger.vault(owner.pubkey())["available_balance"] == 9
    assert ledger.tokens(delegate.pubkey()) == 0


def test_a_delegate_cannot_deposit_the_owners_tokens(ledger: Ledger) -> None:
    owner, delegate = ledger.owner(usdt=9), ledger.wallet()
    ledger.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    source = chain.token_address(owner.pubkey())
    instruction = deposit(owner.pubkey(), 9, authority=delegate.pubkey(), user_token_account=source)
    assert ledger.send(instruction, delegate).error == 4  # SPL Token's OwnerMismatch
    assert ledger.tokens(owner.pubkey()) == 9


def test_a_stranger_cannot_deposit(ledger: Ledger) -> None:
    owner, stranger = ledger.owner(), ledger.wallet(usdt=9)
    outcome = ledger.send(deposit(owner.pubkey(), 9, authority=stranger.pubkey()), stranger)
    assert_refused(outcome, "Unauthorized")
