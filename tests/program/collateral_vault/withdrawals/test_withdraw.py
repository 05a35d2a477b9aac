"""Withdrawals: authorization, recipients, limits of the amount, and recorded balances."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    START,
    USDT,
    Ledger,
    add_delegate,
    govern,
    vault_address,
    withdraw,
)
from tests.program.harness.refusals import assert_refused
from tests.program.harness.venues import Venue

MAX = 2**64 - 1


def test_a_withdrawal_moves_tokens_and_balances_alike(governed: Ledger) -> None:
    owner = governed.owner(deposited=1_000 * USDT)
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    before = governed.vault(key)
    outcome = governed.must(withdraw(key, 400 * USDT), owner)

    assert governed.vault(key) == before | {
        "total_balance": 600 * USDT,
        "available_balance": 600 * USDT,
        "total_withdrawn": 400 * USDT,
    }
    assert governed.tokens(key) == 400 * USDT
    assert governed.tokens(vault) == 600 * USDT
    withdrawn = {
        "vault": vault,
        "owner": key,
        "amount": 400 * USDT,
        "new_total_balance": 600 * USDT,
        "new_available_balance": 600 * USDT,
    }
    recorded = {
        "vault": vault,
        "owner": key,
        "transaction_type": "Withdrawal",
        "amount": 400 * USDT,
        "timestamp": START,
    }
    assert outcome.events == (("WithdrawEvent", withdrawn), ("TransactionEvent", recorded))


def test_a_vault_can_be_emptied_to_the_unit_and_not_beyond(governed: Ledger) -> None:
    owner = governed.owner(deposited=10)
    assert_refused(governed.send(withdraw(owner.pubkey(), 11), owner), "InsufficientFunds")
    governed.must(withdraw(owner.pubkey(), 10), owner)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "InsufficientFunds")
    assert governed.tokens(owner.pubkey()) == 10


@pytest.mark.parametrize("amount", [11, 2**63, MAX])
def test_an_overdraft_takes_nothing(governed: Ledger, amount: int) -> None:
    owner = governed.owner(deposited=10)
    before = governed.vault(owner.pubkey())
    outcome = governed.send(withdraw(owner.pubkey(), amount), owner)
    assert_refused(outcome, "InsufficientFunds")
    assert outcome.events == ()
    assert governed.vault(owner.pubkey()) == before


def test_a_withdrawal_of_nothing_is_refused(governed: Ledger) -> None:
    owner = governed.owner(deposited=10)
    assert_refused(governed.send(withdraw(owner.pubkey(), 0), owner), "InvalidAmount")


def test_tokens_sent_without_a_deposit_cannot_be_withdrawn(governed: Ledger) -> None:
    owner = governed.owner(deposited=10)
    governed.put_tokens(vault_address(owner.pubkey()), 1_000)
    assert_refused(governed.send(withdraw(owner.pubkey(), 11), owner), "InsufficientFunds")


def test_locked_collateral_blocks_every_withdrawal(governed: Ledger, governance: Keypair) -> None:
    """Even when the program that locked it is no longer authorized."""
    owner = governed.owner(deposited=10)
    governed.svm.add_program(POSITION_MANAGER, positions.ELF.read_bytes())
    for step in ("add", "open", "remove"):
        if step == "open":
            key = owner.pubkey()
            summary = positions.init_position_summary(key, payer=key)
            governed.must(summary, owner)
            governed.must(positions.open_position(key, 1), owner)
        else:
            name = f"{step}_authorized_program"
            change = govern(name, governance.pubkey(), value=POSITION_MANAGER)
            governed.must(change, governance)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "OpenPositionsExist")


def test_a_lifetime_counter_that_is_full_refuses_instead_of_wrapping(governed: Ledger) -> None:
    owner = governed.owner(deposited=10)
    # No vault lives long enough to reach this total: it is written directly.
    governed.change_vault(owner.pubkey(), total_withdrawn=MAX)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "Overflow")


@pytest.mark.parametrize(
    "balances",
    [
        {"total_balance": 11},
        {"available_balance": 9},
        {"available_balance": 11},
        {"yield_deposited_balance": 1},
        {"timelocks": [{"amount": 1, "unlock_time": START + 1}]},
    ],
)
def test_balances_that_do_not_add_up_move_no_token(
    governed: Ledger, balances: dict[str, object]
) -> None:
    """No instruction can produce such balances: they are written directly."""
    owner = governed.owner(usdt=1, deposited=10)
    governed.change_vault(owner.pubkey(), **balances)
    for instruction in (
        withdraw(owner.pubkey(), 1),
        chain.deposit(owner.pubkey(), 1),
        add_delegate(owner.pubkey(), Keypair().pubkey()),
    ):
        assert_refused(governed.send(instruction, owner), "InvariantViolation")
    assert governed.tokens(vault_address(owner.pubkey())) == 10


def test_a_vault_that_lacks_tokens_pays_nothing_out(governed: Ledger) -> None:
    owner = governed.owner(usdt=1, deposited=10)
    governed.put_tokens(vault_address(owner.pubkey()), 9)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "InvariantViolation")
    assert_refused(governed.send(chain.deposit(owner.pubkey(), 1), owner), "InvariantViolation")


def test_tokens_lent_to_a_yield_program_need_not_be_in_the_vault(
    governed: Ledger, venue: Venue
) -> None:
    owner = venue.enter(governed.owner(deposited=10))
    key = owner.pubkey()
    governed.must(venue.move("yield_deposit", key, 6), owner)
    assert governed.tokens(vault_address(key)) == 4
    assert_refused(governed.send(withdraw(key, 5), owner), "InsufficientFunds")
    governed.must(withdraw(key, 4), owner)
    assert governed.vault(key)["total_balance"] == 6


# Authorization


def test_a_delegate_withdraws_but_only_to_the_owner(governed: Ledger) -> None:
    owner, delegate = governed.owner(deposited=10), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.must(withdraw(owner.pubkey(), 4, authority=delegate.pubkey()), delegate)
    assert governed.tokens(owner.pubkey()) == 4

    own = chain.token_address(delegate.pubkey())
    instruction = withdraw(owner.pubkey(), 4, authority=delegate.pubkey(), user_token_account=own)
    assert_refused(governed.send(instruction, delegate), "Unauthorized")
    assert governed.tokens(delegate.pubkey()) == 0


def test_a_stranger_withdraws_nothing_even_to_the_owner(governed: Ledger) -> None:
    owner, stranger = governed.owner(deposited=10), governed.wallet()
    instruction = withdraw(owner.pubkey(), 4, authority=stranger.pubkey())
    assert_refused(governed.send(instruction, stranger), "Unauthorized")


def test_an_owner_who_only_cosigns_does_not_authorize_a_stranger(
    governed: Ledger,
) -> None:
    owner, stranger = governed.owner(deposited=10), governed.wallet()
    remaining = [chain.signer(owner.pubkey())]
    instruction = withdraw(owner.pubkey(), 4, authority=stranger.pubkey(), remaining=remaining)
    assert_refused(governed.send(instruction, stranger, owner), "Unauthorized")


def test_governance_cannot_withdraw(governed: Ledger, governance: Keypair) -> None:
    owner = governed.owner(deposited=10)
    instruction = withdraw(owner.pubkey(), 4, authority=governance.pubkey())
    assert_refused(governed.send(instruction, governance), "Unauthorized")


# Recipients


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(deposited=100)


def whitelist(owner: Keypair, wallet: Pubkey) -> Instruction:
    return build("add_withdraw_whitelist", owner.pubkey(), address=wallet)


def recipient(governed: Ledger, wallet: Pubkey) -> Pubkey:
    return governed.put_tokens(wallet, 0, address=Keypair().pubkey())


def test_any_token_account_of_the_owner_may_receive(governed: Ledger, owner: Keypair) -> None:
    account = recipient(governed, owner.pubkey())
    governed.must(withdraw(owner.pubkey(), 7, user_token_account=account), owner)
    assert governed.tokens_at(account) == 7


def test_a_whitelisted_wallet_may_receive_and_no_other(governed: Ledger, owner: Keypair) -> None:
    listed = [Keypair().pubkey() for _ in range(32)]
    for wallet in listed:
        governed.must(whitelist(owner, wallet), owner)
    for wallet in (listed[0], listed[31]):
        account = recipient(governed, wallet)
        governed.must(withdraw(owner.pubkey(), 7, user_token_account=account), owner)
        assert governed.tokens_at(account) == 7
    for wallet in (Keypair().pubkey(), governed.wallet().pubkey()):
        account = recipient(governed, wallet)
        outcome = governed.send(withdraw(owner.pubkey(), 7, user_token_account=account), owner)
        assert_refused(outcome, "Unauthorized")


def test_listing_a_token_account_does_not_let_its_owner_receive(
    governed: Ledger, owner: Keypair
) -> None:
    account = recipient(governed, Keypair().pubkey())
    governed.must(whitelist(owner, account), owner)
    outcome = governed.send(withdraw(owner.pubkey(), 7, user_token_account=account), owner)
    assert_refused(outcome, "Unauthorized")


def test_a_vault_cannot_pay_itself_even_when_whitelisted(governed: Ledger, owner: Keypair) -> None:
    vault = vault_address(owner.pubkey())
    governed.must(whitelist(owner, vault), owner)
    for account in (chain.token_address(vault), recipient(governed, vault)):
        outcome = governed.send(withdraw(owner.pubkey(), 7, user_token_account=account), owner)
        assert_refused(outcome, "ConstraintTokenOwner")
